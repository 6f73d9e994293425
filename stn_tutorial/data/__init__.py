"""Where the book's images come from: bundled, drawn, or downloaded and checked."""
