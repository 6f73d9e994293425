"""A transformer under examination: run in parts, with a hand on its theta."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from stn_tutorial.affine import identity, rotation
from stn_tutorial.pitfalls.readings import (
    ADDED,
    Exchange,
    Reading,
    same,
    understand,
)

Place = nn.Module | str | None

TILTED = torch.tensor([[[0.61, -0.23, 0.17], [0.32, 0.83, -0.11]]])


class Head(NamedTuple):
    """A last layer of the localisation net, and what it gives for some images."""

    name: str
    module: nn.Module
    numbers: Tensor  # (N, k), with k = 6 or fewer


class Patient:
    """A copy of a transformer, with a hand on its theta.

    Args:
        transformer: a module or a method of one.
        images: shape (N, C, H, W), what it gets, or what the network gets.
        network: the network that holds it, or None.
        training: whether to look at it in training mode. Dropout and batch
            normalisation rest, since what they do there is meant.
    """

    def __init__(
        self,
        transformer: Callable[..., Any],
        images: Tensor,
        network: nn.Module | None,
        training: bool,
    ) -> None:
        self.images = images.detach()
        self.training = training
        roots = [getattr(transformer, "__self__", transformer), network]
        memo = {}  # what a module has kept of its last run cannot be copied
        for root in [root for root in roots if isinstance(root, nn.Module)]:
            for value in [v for part in root.modules() for v in vars(part).values()]:
                if isinstance(value, Tensor) and not value.is_leaf:
                    memo[id(value)] = value.detach()
        self.call, self.network = copy.deepcopy((transformer, network), memo)
        owner = getattr(self.call, "__self__", self.call)
        assert isinstance(owner, nn.Module)
        self.owner = owner
        for root in [owner] if self.network is None else [owner, self.network]:
            set_mode(root, training)
        self.place: Place = None
        self.reading: Reading | None = None
        self.off = float("nan")  # how far the best reading is off, in pixels
        self.moved: Tensor | None = None  # theta after a small step
        self.adds = False  # whether the six numbers are added to the identity
        self.input = self._input()
        n = len(self.input)
        noise = torch.rand(n, *self.input.shape[1:], generator=generator())
        self.noise = noise.to(self.input)
        thetas = torch.cat([TILTED, rotation(20) * 1.6, identity()])
        self.put = thetas.repeat(n // 3 + 1, 1, 1)[:n].to(self.input.device)
        self._find_place()
        if self.reading is not None and self.reading.mistake == ADDED:
            self.adds, self.reading = True, self.reading._replace(mistake="")
        self.heads = self._heads()
        self.output, self.theta = self.run(self.input)
        if self.theta is not None and self.adds:
            self.theta = self.theta + identity().to(self.theta)

    def run(
        self,
        images: Tensor,
        put: Tensor | None = None,
        head: tuple[nn.Module, Tensor] | None = None,
        whole: bool = False,
        seed: int = 0,
    ) -> tuple[Tensor, Tensor | None]:
        """Warp images, or give the network's scores.

        Args:
            images: shape (N, C, H, W).
            put: what to put in theta's place, shape (1 or N, 2, 3).
            head: a last layer, and what to put in place of its numbers.
            whole: whether to run the whole network.
            seed: of what the module draws at random.

        Returns:
            the output; theta as it passed, before the exchange, or None.
        """
        seen: list[Tensor] = []

        def exchange(theta: Tensor) -> Tensor:
            seen.append(theta)
            if put is None:
                return theta
            sent = put - identity().to(put) if self.adds else put
            return sent.to(theta).expand(len(theta), -1, -1).reshape(theta.shape)

        torch.manual_seed(seed)
        with ExitStack() as stack:
            if head is not None:
                module, numbers = head
                stack.enter_context(at(module, lambda was: numbers.reshape(was.shape)))
            stack.enter_context(at(self.place, exchange))
            if self.training:
                stack.enter_context(Instead(dict.fromkeys(DROPOUTS, same)))
            call = self.network if whole and self.network is not None else self.call
            output = call(images.clone())
        output = output[0] if isinstance(output, (tuple, list)) else output
        if not isinstance(output, Tensor):
            raise TypeError(f"expected a tensor to come out, but got {type(output)}")
        return output, seen[0].reshape(-1, 2, 3) if seen else None

    def _input(self) -> Tensor:
        """What the transformer gets, which are feature maps inside a network."""
        seen: list[Tensor] = []
        if self.network is None or not isinstance(self.call, nn.Module):
            return self.images
        hook = self.call.register_forward_pre_hook(
            lambda _, args, kwargs: seen.append([*args, *kwargs.values()][0]),
            with_kwargs=True,
        )
        with torch.no_grad():
            self.network(self.images.clone())
        hook.remove()
        return seen[0].detach() if seen else self.images

    def passing(
        self, head: tuple[nn.Module, Tensor] | None = None
    ) -> dict[nn.Module | str, tuple[Tensor | None, Tensor]]:
        """What each part gets and gives, if it gives six numbers an image or fewer."""
        n = len(self.input)
        found: dict[nn.Module | str, tuple[Tensor | None, Tensor]] = {}

        def look(module: nn.Module, args: tuple[Any, ...], output: object) -> None:
            if isinstance(output, Tensor) and output.shape[:1] == (n,):
                got = args[0] if args and isinstance(args[0], Tensor) else None
                if 0 < output.numel() <= 6 * n and module is not self.call:
                    found[module] = got if got is None else got.clone(), output.clone()

        def note(theta: Tensor) -> Tensor:
            if theta.shape[1:] == (2, 3):
                found["F.affine_grid"] = None, theta
            return theta

        hooks = [part.register_forward_hook(look) for part in self.owner.modules()]
        with torch.no_grad(), at("F.affine_grid", note):
            self.run(self.input, head=head)
        for hook in hooks:
            hook.remove()
        return found

    def places(self) -> list[nn.Module | str]:
        """Where theta may pass: what gives six numbers an image, or affine_grid."""
        six = [
            place
            for place, (_, output) in self.passing().items()
            if output.numel() == 6 * len(self.input)
        ]
        named = {
            module
            for name, module in self.owner.named_modules()
            if "locali" in name.split(".")[-1]
        }
        first = [place for place in six if place in named]
        last = [place for place in six if isinstance(place, str)]
        return [*first, *[p for p in reversed(six) if p not in last], *last]

    @torch.no_grad()
    def _find_place(self) -> None:
        """Try the places until the warp behind one is understood."""
        best = float("inf")
        for place in self.places():
            self.place, before = place, self.place
            output = self.run(self.noise, self.put)[0].float()
            reading, miss, off = understand(self.noise.float(), self.put, output)
            if miss < best:
                self.reading, self.off, best = reading, off, miss
            else:
                self.place = before
            if best == 0:
                return

    def _heads(self) -> list[Head]:
        """The last layers of the localisation net, whose numbers no other one reads."""
        layers = {
            module: (got, gave.flatten(1).detach())
            for module, (got, gave) in self.passing().items()
            if isinstance(module, nn.Module)
            and any(weight.requires_grad for weight in module.parameters(recurse=False))
        }
        names = {module: name for name, module in self.owner.named_modules()}
        heads = []
        for layer, (_, gave) in layers.items():
            then = self.passing((layer, gave + 1))
            read = any(
                got is not None and other in then and differ(got, then[other][0])
                for other, (got, _) in layers.items()
                if other is not layer
            )
            if not read:
                heads.append(Head(names[layer] or "the module", layer, gave))
        return heads


def differ(one: Tensor, other: Tensor | None) -> bool:
    """Whether two tensors differ in shape or in any number."""
    return other is None or not torch.equal(one, other)


RESTING = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)
DROPOUTS = {F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout}


def set_mode(root: nn.Module, training: bool) -> None:
    """Set a module's mode; what is random or mixes images by intention rests."""
    for module in root.train(training).modules():
        if isinstance(module, RESTING):
            module.eval()


@contextmanager
def at(place: Place, exchange: Exchange) -> Iterator[None]:
    """Exchange what a module gives, or what ``F.affine_grid`` gets."""
    if isinstance(place, nn.Module):
        hook = place.register_forward_hook(lambda _, args, gives: exchange(gives))
        try:
            yield
        finally:
            hook.remove()
    elif place is not None:
        with Instead({F.affine_grid: exchange}, "theta"):
            yield
    else:
        yield


class Instead(TorchFunctionMode):
    """Exchange the first argument of some functions of PyTorch, or their result.

    Args:
        exchange: by function.
        name: of the argument; without one, the exchange takes the function's place.
    """

    def __init__(self, exchange: dict[Any, Exchange], name: str = "") -> None:
        super().__init__()
        self.exchange, self.name = exchange, name

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Hand every other function on as it is."""
        kwargs = dict(kwargs or {})
        if func in self.exchange:
            given = args[0] if args else kwargs.pop(self.name or "input")
            given = self.exchange[func](given)
            if not self.name:
                return given
            args = (given, *args[1:])
        return func(*args, **kwargs)


def slopes(
    output: Tensor, to: Sequence[Tensor], weights: Tensor | None = None
) -> list[Tensor]:
    """The gradients of a weighted sum of the output; 0 where there is none."""
    found: Sequence[Tensor | None] = [None] * len(to)
    if output.requires_grad and len(to) > 0:
        if weights is None:
            weights = torch.randn(output.shape, generator=generator()).to(output)
        total = (output * weights).sum()
        found = torch.autograd.grad(total, to, allow_unused=True)
    pairs = zip(found, to, strict=True)
    return [torch.zeros_like(t) if grad is None else grad for grad, t in pairs]


def generator() -> torch.Generator:
    """The examination's own random numbers, the same each time."""
    return torch.Generator().manual_seed(0)
