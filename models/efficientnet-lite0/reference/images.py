"""Draws the pictures of this folder: small, free of rights, and of things that ImageNet has classes for.

They are committed, because another version of Pillow may write other bytes; nothing draws them again unless
somebody wants other ones. After that, `make.py` has to run.

    python -m pip install numpy==2.4.6 Pillow==13.0.0
    python images.py

Between them they cover what a reader of pictures can get wrong: JPEG with halved colour, PNG with transparency,
with a palette and in grey, WebP, pictures that are wide, tall, small or one pixel, and an orientation in EXIF.
"""

import math
import random
from pathlib import Path
from typing import Tuple

import numpy as np
from PIL import Image, ImageDraw

FOLDER = Path(__file__).parent / "inputs"

# Drawn this much larger and then shrunk, which is what smooths the edges.
LARGER = 4

Colour = Tuple[int, int, int]


class Drawing:
    """A picture to draw on, in the units of the finished one."""

    def __init__(self, width: int, height: int, above: Colour, below: Colour) -> None:
        """Fills it from the first colour, at the top, to the second."""
        down = np.linspace(0, 1, height * LARGER)[:, None, None]
        rows = np.array(above) * (1 - down) + np.array(below) * down
        filled = np.broadcast_to(rows, (height * LARGER, width * LARGER, 3))
        self.image = Image.fromarray(filled.astype(np.uint8))
        self._draw = ImageDraw.Draw(self.image)

    def polygon(self, points, colour: Colour) -> None:
        self._draw.polygon([(x * LARGER, y * LARGER) for x, y in points], fill=colour)

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def oval(self, x: float, y: float, across: float, down: float, colour: Colour) -> None:
        box = [x - across, y - down, x + across, y + down]
        self._draw.ellipse([value * LARGER for value in box], fill=colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        self.oval(x, y, radius, radius, colour)

    def line(self, points, colour: Colour, width: float) -> None:
        scaled = [(x * LARGER, y * LARGER) for x, y in points]
        self._draw.line(scaled, fill=colour, width=round(width * LARGER))

    def finished(self) -> Image.Image:
        size = (self.image.width // LARGER, self.image.height // LARGER)
        return self.image.resize(size, Image.Resampling.LANCZOS)


def around(x: float, y: float, radius: float, turn: float) -> Tuple[float, float]:
    """The point on a circle; a turn of 0 is at the right, and 1 is there again."""
    return x + radius * math.cos(2 * math.pi * turn), y + radius * math.sin(2 * math.pi * turn)


def traffic_light() -> Image.Image:
    drawing = Drawing(240, 320, (120, 170, 230), (210, 230, 250))
    drawing.rectangle(112, 230, 128, 320, (60, 60, 60))
    drawing.rectangle(70, 20, 170, 250, (230, 200, 40))
    drawing.rectangle(75, 25, 165, 245, (30, 32, 30))
    for y, colour in ((63, (235, 30, 20)), (135, (70, 55, 10)), (207, (10, 60, 20))):
        drawing.disc(120, y, 28, colour)
    return drawing.finished()


def balloon() -> Image.Image:
    """With a sky that is transparent: whoever lays it on a colour sees another picture."""
    drawing = Drawing(200, 230, (60, 130, 220), (190, 220, 245))
    red, yellow = (200, 30, 40), (240, 200, 40)
    drawing.polygon([(60, 155), (140, 155), (112, 195), (88, 195)], red)
    for stripe, colour in enumerate((red, yellow, red, yellow)):
        drawing.oval(100, 104, 72 - stripe * 20, 74, colour)
    drawing.rectangle(88, 205, 112, 225, (120, 80, 40))
    for x in (89, 111):
        drawing.line([(x, 195), (x, 206)], (60, 40, 20), 1)
    picture = drawing.finished()
    blue = np.asarray(picture).astype(int)
    is_sky = blue[:, :, 2] > blue[:, :, 0]
    picture.putalpha(Image.fromarray(np.where(is_sky, 64, 255).astype(np.uint8)))
    return picture


def spider_web() -> Image.Image:
    drawing = Drawing(320, 240, (28, 44, 30), (28, 44, 30))
    threads = [(turn + 0.3) / 18 for turn in range(18)]
    for turn in threads:
        drawing.line([(165, 118), around(165, 118, 260, turn)], (215, 220, 215), 1)
    for radius in range(9, 144, 9):
        ring = [around(165, 118, radius, turn) for turn in [*threads, threads[0]]]
        drawing.line(ring, (205, 212, 205), 0.75)
    return drawing.finished()


def honeycomb() -> Image.Image:
    drawing = Drawing(256, 256, (120, 70, 10), (120, 70, 10))
    for row in range(-1, 14):
        for column in range(-1, 12):
            x, y = column * 25.98 + row % 2 * 12.99, row * 22.5
            honey = (225, 150 + (column * 7 + row * 3) % 5 * 10, 30)
            drawing.polygon([around(x, y, 13, (corner + 0.5) / 6) for corner in range(6)], honey)
            drawing.disc(x, y, 7.5, (240, 185, 70))
    return drawing.finished()


def analog_clock() -> Image.Image:
    drawing = Drawing(300, 300, (196, 180, 150), (196, 180, 150))
    drawing.disc(150, 150, 120, (60, 40, 25))
    drawing.disc(150, 150, 108, (250, 250, 245))
    for minute in range(60):
        inner, width = (92, 4) if minute % 5 == 0 else (99, 1)
        ends = [around(150, 150, radius, minute / 60) for radius in (inner, 104)]
        drawing.line(ends, (20, 20, 20), width)
    for turn, length, width in ((0.6, 55, 7), (0.92, 85, 4)):
        drawing.line([(150, 150), around(150, 150, length, turn)], (10, 10, 10), width)
    drawing.disc(150, 150, 7, (10, 10, 10))
    return drawing.finished()


def crossword() -> Image.Image:
    """Wide: what lies outside the square in the middle is grey, and is not looked at."""
    chance = random.Random(1)
    drawing = Drawing(700, 280, (128, 128, 128), (128, 128, 128))
    for column in range(14):
        for row in range(14):
            left, top = 210 + column * 20, row * 20
            drawing.rectangle(left, top, left + 20, top + 20, (0, 0, 0))
            if chance.random() > 0.2:
                drawing.rectangle(left + 1, top + 1, left + 19, top + 19, (255, 255, 255))
    return drawing.finished().convert("L")


def colours() -> Image.Image:
    """Smaller than what the model takes, and of odd sizes."""
    across, down = np.meshgrid(np.arange(77), np.arange(51))
    channels = (across * 3, down * 5, (across * down) % 256)
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def turned(picture: Image.Image) -> Tuple[Image.Image, Image.Exif]:
    """The picture lying on its side, and the note of a camera that says how to set it upright."""
    note = Image.Exif()
    note[0x0112] = 6
    return picture.transpose(Image.Transpose.ROTATE_90), note


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    traffic_light().save(FOLDER / "traffic-light.jpg", quality=88, subsampling="4:2:0")
    side, note = turned(traffic_light())
    side.save(FOLDER / "turned.jpg", quality=88, subsampling="4:4:4", exif=note)
    honeycomb().save(FOLDER / "honeycomb.jpg", quality=60, subsampling="4:2:0", progressive=True)
    balloon().save(FOLDER / "balloon.png", optimize=True)
    analog_clock().quantize(16, dither=Image.Dither.NONE).save(FOLDER / "analog-clock.png", optimize=True)
    crossword().save(FOLDER / "crossword.png", optimize=True)
    spider_web().save(FOLDER / "spider-web.webp", quality=50, method=6)
    colours().save(FOLDER / "colours.webp", lossless=True, quality=100, method=6)
    Image.new("RGB", (1, 1), (200, 120, 40)).save(FOLDER / "pixel.png")


if __name__ == "__main__":
    main()
