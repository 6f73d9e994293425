// The affine sampler in one pass, and its gradients: bilinear, zeros outside.
//
// Nothing stands in memory between theta and the output but the row that is being read:
// no grid, no weights, no indices. Built at run time by stn_tutorial/fast.py.
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cmath>
#include <vector>

namespace {

using at::Tensor;
constexpr int K = 16;  // channels that are read together: a vector of floats

struct Shape {
  int64_t n, c, height, width, h, w;  // (height, width) of the images, (h, w) of the output
  bool last;  // whether the channels of a pixel stand side by side in memory
  bool pack;  // whether to put them side by side, K at a time, in the processor's cache
  int pixel;  // steps in memory from one pixel to the next
};

// Each image is one block of memory, by planes or by pixels; the first may serve them all.
Tensor tidy(const Tensor& images) {
  Tensor one = images.narrow(0, 0, std::min<int64_t>(1, images.size(0)));
  bool in_order = one.is_contiguous() || one.is_contiguous(at::MemoryFormat::ChannelsLast);
  return in_order ? images : images.contiguous();
}

Shape shape_of(const Tensor& images, const Tensor& theta, int64_t h, int64_t w) {
  Shape s{images.size(0), images.size(1), images.size(2), images.size(3), h, w};
  TORCH_CHECK(theta.sizes() == at::IntArrayRef({s.n, 2, 3}) && h > 0 && w > 0 &&
              images.scalar_type() == theta.scalar_type(), "expected one theta an image");
  TORCH_CHECK(images.numel() / std::max<int64_t>(1, s.n) <= INT_MAX - 4 * (s.width + 1) * s.c,
              "expected images of less than 2^31 numbers each, got ", images.sizes());
  int64_t area = s.height * s.width;
  s.last = s.n > 0 && !images.narrow(0, 0, 1).is_contiguous();
  s.pack = !s.last && s.c >= K && area <= 128 * 128 && area <= 4 * h * w;
  s.pixel = s.pack ? K : s.last ? s.c : 1;
  return s;
}

// Where the points of one row of the output read. Along a row x only rises or only falls,
// and so does y. So the points inside the image stand together, and walks from both ends
// find them: from `first` to `last` a neighbour may be inside; from `inner` to `inner_end`
// all four are, and need no check.
template <typename T>
struct Row {
  std::vector<double> x, y;  // in pixels
  std::vector<T> fx, fy;     // how far beyond the upper left neighbour
  std::vector<int> at;       // where that one stands in memory
  int64_t first, last, inner, inner_end;

  explicit Row(int64_t w) : x(w), y(w), fx(w), fy(w), at(w) {}

  void place(const Shape& s, const T* theta, int64_t j) {
    double start[2], step[2];  // in this order, the identity comes out exact
    for (int k : {0, 1}) {
      double size = k ? s.height : s.width, a = theta[3 * k], b = theta[3 * k + 1];
      step[k] = a * size / s.w;
      start[k] = step[k] * (1 - s.w) + b * size / s.h * (2 * j + 1 - s.h);
      start[k] = (start[k] + theta[3 * k + 2] * size + size - 1) / 2;
    }
    for (int64_t i = 0; i < s.w; ++i) {
      x[i] = start[0] + step[0] * i;
      y[i] = start[1] + step[1] * i;
    }
    auto near = [&](int64_t i) {
      return x[i] > -1 && x[i] < s.width && y[i] > -1 && y[i] < s.height;
    };
    auto whole = [&](int64_t i) {
      return x[i] >= 0 && x[i] < s.width - 1 && y[i] >= 0 && y[i] < s.height - 1;
    };
    first = 0, last = s.w;
    while (first < last && !near(first)) ++first;
    while (first < last && !near(last - 1)) --last;
    inner = first, inner_end = last;
    while (inner < inner_end && !whole(inner)) ++inner;
    while (inner < inner_end && !whole(inner_end - 1)) --inner_end;
    for (int64_t i = first; i < last; ++i) {
      double column = std::floor(x[i]), row = std::floor(y[i]);
      fx[i] = x[i] - column, fy[i] = y[i] - row;
      at[i] = (int(row) * int(s.width) + int(column)) * s.pixel;
    }
  }

  // Far outside stands 0. But a place that is not a number is no place.
  double outside(int64_t i) const { return std::isfinite(x[i] + y[i]) ? 0 : NAN; }

  // Visit all points that need checks, and say which of them may touch the image.
  template <typename F>
  void edges(F visit) const {
    int64_t w = x.size();
    for (int64_t i = 0; i < inner; ++i) visit(i, i >= first);
    for (int64_t i = inner_end; i < w; ++i) visit(i, i < last);
  }

  // Visit the neighbours that are inside, with their weights along x and y and the signs
  // of those weights' slopes.
  template <typename F>
  void neighbours(const Shape& s, int64_t i, F visit) const {
    int left = std::floor(x[i]), top = std::floor(y[i]);
    for (int b : {0, 1})
      for (int a : {0, 1})
        if (left + a >= 0 && left + a < s.width && top + b >= 0 && top + b < s.height)
          visit(at[i] + (b * int(s.width) + a) * s.pixel, a ? fx[i] : 1 - fx[i],
                b ? fy[i] : 1 - fy[i], a ? 1 : -1, b ? 1 : -1);
  }
};

// Read one row, of B channels that stand side by side.
template <int B, typename T>
void read(const Shape& s, const Row<T>& r, const T* image, T* __restrict out, int64_t step) {
  r.edges([&](int64_t i, bool touches) {
    T* value = out + i * step;
    std::fill_n(value, B, touches ? 0 : r.outside(i));
    if (touches)
      r.neighbours(s, i, [&](int at, T wx, T wy, int, int) {
        for (int k = 0; k < B; ++k) value[k] += wx * wy * image[at + k];
      });
  });
  const int right = s.pixel, below = s.width * s.pixel;
  for (int64_t i = r.inner; i < r.inner_end; ++i) {
    const T *p = image + r.at[i], *q = p + below, fx = r.fx[i], fy = r.fy[i];
    for (int k = 0; k < B; ++k) {
      T upper = (1 - fx) * p[k] + fx * p[k + right];
      T lower = (1 - fx) * q[k] + fx * q[k + right];
      out[i * step + k] = (1 - fy) * upper + fy * lower;
    }
  }
}

// The way back of one row: spread its gradient over the image's, where that is asked for,
// and add up the slopes along x and y, each as it is and times the column i.
template <int B, typename T>
void send(const Shape& s, const Row<T>& r, const T* image, const T* grad, int64_t step,
          T* __restrict to_image, std::array<double, 4>& sums) {
  auto add = [&](int64_t i, double dx, double dy) {
    sums[0] += dx, sums[1] += dx * i, sums[2] += dy, sums[3] += dy * i;
  };
  r.edges([&](int64_t i, bool touches) {
    if (!touches) return add(i, r.outside(i), r.outside(i));
    r.neighbours(s, i, [&](int at, T wx, T wy, int sx, int sy) {
      for (int k = 0; k < B; ++k) {
        T g = grad[i * step + k];
        add(i, g * sx * wy * image[at + k], g * sy * wx * image[at + k]);
        if (to_image) to_image[at + k] += wx * wy * g;
      }
    });
  });
  const int right = s.pixel, below = s.width * s.pixel;
  for (int64_t i = r.inner; i < r.inner_end; ++i) {
    const T *p = image + r.at[i], *q = p + below, *g = grad + i * step;
    T fx = r.fx[i], fy = r.fy[i], dx = 0, dy = 0;
#pragma omp simd reduction(+ : dx, dy)
    for (int k = 0; k < B; ++k) {
      T a = p[k], b = p[k + right], c = q[k], d = q[k + right];
      dx += g[k] * ((1 - fy) * (b - a) + fy * (d - c));
      dy += g[k] * ((1 - fx) * (c - a) + fx * (d - b));
    }
    add(i, dx, dy);
    if (!to_image) continue;
    T* t = to_image + r.at[i];
    for (int k = 0; k < B; ++k) t[k] += (1 - fx) * (1 - fy) * g[k];
    for (int k = 0; k < B; ++k) t[k + right] += fx * (1 - fy) * g[k];
    for (int k = 0; k < B; ++k) t[k + below] += (1 - fx) * fy * g[k];
    for (int k = 0; k < B; ++k) t[k + below + right] += fx * fy * g[k];
  }
}

// From planes of one channel each to pixels of K channels, and back.
template <typename T>
void pack(const T* planes, int64_t area, int64_t few, int64_t length, T* pixels) {
  for (int64_t p = 0; p < length; ++p)
    for (int64_t k = 0; k < few; ++k) pixels[p * K + k] = planes[k * area + p];
  for (int64_t p = 0; p < length; ++p)
    for (int64_t k = few; k < K; ++k) pixels[p * K + k] = 0;
}

template <typename T>
void unpack(const T* pixels, int64_t length, T* planes, int64_t area, int64_t few) {
  for (int64_t k = 0; k < few; ++k)
    for (int64_t p = 0; p < length; ++p) planes[k * area + p] = pixels[p * K + k];
}

template <typename T>
void forward(const Shape& s, const Tensor& images, const T* theta, T* out) {
  const int64_t area = s.height * s.width, count = s.h * s.w;
  auto image_of = [&](int64_t n) { return images.const_data_ptr<T>() + n * images.stride(0); };
  if (s.pack) {
    const int64_t blocks = (s.c + K - 1) / K;
    at::parallel_for(0, s.n * blocks, 1, [&](int64_t begin, int64_t end) {
      Row<T> row(s.w);
      std::vector<T> pixels(area * K), line(s.w * K);
      for (int64_t task = begin; task < end; ++task) {
        int64_t n = task / blocks, c = task % blocks * K, few = std::min(s.c - c, int64_t(K));
        T* planes = out + (n * s.c + c) * count;
        pack(image_of(n) + c * area, area, few, area, pixels.data());
        for (int64_t j = 0; j < s.h; ++j) {
          row.place(s, theta + 6 * n, j);
          read<K>(s, row, pixels.data(), line.data(), K);
          unpack(line.data(), s.w, planes + j * s.w, count, few);
        }
      }
    });
    return;
  }
  at::parallel_for(0, s.n * s.h, 1 + 4096 / (s.w * s.c), [&](int64_t begin, int64_t end) {
    Row<T> row(s.w);
    for (int64_t task = begin; task < end; ++task) {
      int64_t n = task / s.h, j = task % s.h, c = 0;
      row.place(s, theta + 6 * n, j);
      const T* image = image_of(n);
      T* line = s.last ? out + task * s.w * s.c : out + n * s.c * count + j * s.w;
      for (; s.last && c + K <= s.c; c += K) read<K>(s, row, image + c, line + c, s.c);
      for (; c < s.c; ++c)
        s.last ? read<1>(s, row, image + c, line + c, s.c)
               : read<1>(s, row, image + c * area, line + c * count, 1);
    }
  });
}

template <typename T>
void backward(const Shape& s, const Tensor& images, const T* theta, const T* grad,
              T* to_images, T* to_theta) {
  // No two tasks write to one place, so there are no atomics, and the bits are the same on
  // any number of threads. One image alone is split by its channels.
  const int64_t area = s.height * s.width, count = s.h * s.w;
  const int64_t each = s.pack || (s.last && s.n < 8) ? K : s.n < 8 ? 1 : s.c;
  const int64_t blocks = (s.c + each - 1) / each;
  std::vector<double> parts(s.n * blocks * 6);
  at::parallel_for(0, s.n * blocks, 1, [&](int64_t begin, int64_t end) {
    Row<T> row(s.w);
    std::vector<T> pixels(s.pack ? area * K : 0), line(s.w * K), to_pixels;
    for (int64_t task = begin; task < end; ++task) {
      int64_t n = task / blocks, c0 = task % blocks * each, c1 = std::min(s.c, c0 + each);
      int64_t few = c1 - c0;
      const T* image = images.const_data_ptr<T>() + n * images.stride(0);
      T* to_image = to_images ? to_images + n * s.c * area : nullptr;
      if (s.pack) {
        pack(image + c0 * area, area, few, area, pixels.data());
        if (to_image) to_pixels.assign(area * K, 0);
      }
      for (int64_t j = 0; j < s.h; ++j) {
        std::array<double, 4> sums{};
        row.place(s, theta + 6 * n, j);
        if (s.pack) {
          T* to = to_image ? to_pixels.data() : nullptr;
          pack(grad + (n * s.c + c0) * count + j * s.w, count, few, s.w, line.data());
          send<K>(s, row, pixels.data(), line.data(), K, to, sums);
        }
        for (int64_t c = c0; c < c1 && !s.pack;) {
          bool many = s.last && c + K <= c1;
          int64_t at = s.last ? c : c * area;
          const T* g = grad + (s.last ? (n * s.h + j) * s.w * s.c + c
                                      : (n * s.c + c) * count + j * s.w);
          T* to = to_image ? to_image + at : nullptr;
          (many ? send<K, T> : send<1, T>)(s, row, image + at, g, s.last ? s.c : 1, to, sums);
          c += many ? K : 1;
        }
        double* part = &parts[task * 6];
        for (int k : {0, 1}) {  // half an image's size is a step of 1 in theta
          double half = (k ? s.height : s.width) / 2.0, sum = half * sums[2 * k];
          part[3 * k] += (2 * half * sums[2 * k + 1] + (1 - s.w) * sum) / s.w;
          part[3 * k + 1] += sum * (2 * j + 1 - s.h) / s.h;
          part[3 * k + 2] += sum;
        }
      }
      if (s.pack && to_image) unpack(to_pixels.data(), area, to_image + c0 * area, area, few);
    }
  });
  for (int64_t i = 0; to_theta && i < 6 * s.n; ++i) {
    double sum = 0;
    for (int64_t b = 0; b < blocks; ++b) sum += parts[(i / 6 * blocks + b) * 6 + i % 6];
    to_theta[i] = sum;
  }
}

Tensor empty_as(const Shape& s, const Tensor& like, int64_t h, int64_t w) {
  auto format = s.last ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
  return at::empty({s.n, s.c, h, w}, like.options().memory_format(format));
}

Tensor affine_sample(const Tensor& images, const Tensor& theta, int64_t h, int64_t w) {
  Tensor source = tidy(images), thetas = theta.contiguous();
  auto s = shape_of(source, thetas, h, w);
  Tensor out = empty_as(s, source, h, w);
  if (out.numel() == 0) return out;
  AT_DISPATCH_FLOATING_TYPES(source.scalar_type(), "affine_sample", [&] {
    forward<scalar_t>(s, source, thetas.const_data_ptr<scalar_t>(),
                      out.mutable_data_ptr<scalar_t>());
  });
  return out;
}

std::tuple<Tensor, Tensor> affine_sample_backward(const Tensor& grad, const Tensor& images,
                                                  const Tensor& theta, bool for_images) {
  Tensor source = tidy(images), thetas = theta.contiguous();
  TORCH_CHECK(grad.dim() == 4, "expected a gradient of 4 axes, got ", grad.sizes());
  auto s = shape_of(source, thetas, grad.size(2), grad.size(3));
  TORCH_CHECK(grad.size(0) == s.n && grad.size(1) == s.c,
              "expected a gradient of the output's shape, got ", grad.sizes());
  Tensor to_theta = at::zeros({s.n, 2, 3}, theta.options());
  Tensor to_images = for_images ? empty_as(s, source, s.height, s.width).zero_()
                                : at::empty({0}, images.options());
  Tensor g = grad.contiguous(s.last ? at::MemoryFormat::ChannelsLast
                                    : at::MemoryFormat::Contiguous);
  if (g.numel() == 0) return {to_images, to_theta};
  AT_DISPATCH_FLOATING_TYPES(source.scalar_type(), "affine_sample_backward", [&] {
    backward<scalar_t>(s, source, thetas.const_data_ptr<scalar_t>(),
                       g.const_data_ptr<scalar_t>(),
                       for_images ? to_images.mutable_data_ptr<scalar_t>() : nullptr,
                       to_theta.mutable_data_ptr<scalar_t>());
  });
  return {to_images, to_theta};
}

}  // namespace

TORCH_LIBRARY(stn_fast, m) {
  m.def("affine_sample(Tensor images, Tensor theta, SymInt h, SymInt w) -> Tensor");
  m.def("affine_sample_backward(Tensor grad, Tensor images, Tensor theta, bool for_images)"
        " -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(stn_fast, CPU, m) {
  m.impl("affine_sample", &affine_sample);
  m.impl("affine_sample_backward", &affine_sample_backward);
}
