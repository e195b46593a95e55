// What lies on the canvas: the image in its window, heat map, outline of the lungs, scale bar.

// Inferno at nine points, as in covid_core/inference/heatmap.py: dark to bright evenly, also for the colour blind.
const INFERNO = [
  [0, 0, 4], [31, 12, 72], [85, 15, 109], [136, 34, 106], [186, 54, 85],
  [227, 89, 51], [249, 140, 10], [249, 201, 50], [252, 255, 164],
];
// Orange raises, blue lowers: a pair that stays apart for all common kinds of colour blindness (Okabe and Ito 2008).
const RAISES = [[213, 94, 0], [230, 159, 0], [255, 214, 102]];
const LOWERS = [[0, 114, 178], [86, 180, 233], [178, 222, 255]];
const OUTLINE = "#a8f0c0"; // mint: in no map's colours
const BOX = "#f5d76e"; // straw: the part that the network is shown
const BOX_CELLS = 512; // places along a side at which its frame is drawn
const BAR_LENGTHS = [200, 100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1]; // millimetres
const HEAT_DETAIL = 1024; // pixels of the map's longer side after smoothing
const SMOOTH_BELOW = 4; // screen pixels per image pixel; from there on single pixels are seen as they are

function between(colours, share) {
  const position = Math.min(1, Math.max(0, share)) * (colours.length - 1);
  const low = Math.min(Math.floor(position), colours.length - 2);
  return colours[low].map((part, i) => part + (colours[low + 1][i] - part) * (position - low));
}

// Colour and cover (0 to 255) of each of the map's 256 values. It covers as much as it is hot.
function heatColours(signed) {
  return Array.from({ length: 256 }, (_, value) => {
    const heat = signed ? Math.max(-1, (value - 128) / 127) : value / 255;
    const colours = !signed ? INFERNO : heat < 0 ? LOWERS : RAISES;
    return [...between(colours, Math.abs(heat)).map(Math.round), Math.round(255 * Math.abs(heat))];
  });
}

function blank(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

// A heat map as a picture with transparency, its values (not its colours) interpolated between the cells' centres.
function heatPicture({ width, height, signed }, values) {
  const growth = Math.max(1, Math.floor(HEAT_DETAIL / Math.max(width, height)));
  const canvas = blank(width * growth, height * growth);
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const colours = heatColours(signed);
  const across = places(canvas.width, width);
  const down = places(canvas.height, height);
  for (let y = 0, at = 0; y < canvas.height; y++) {
    const [top, bottom, v] = down[y];
    for (let x = 0; x < canvas.width; x++, at += 4) {
      const [left, right, u] = across[x];
      const upper = values[top * width + left] * (1 - u) + values[top * width + right] * u;
      const lower = values[bottom * width + left] * (1 - u) + values[bottom * width + right] * u;
      image.data.set(colours[Math.round(upper * (1 - v) + lower * v)], at);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// For each of `many` places over `few` cells: the cell before, the cell after, and how far towards the latter.
function places(many, few) {
  return Array.from({ length: many }, (_, i) => {
    const position = Math.min(few - 1, Math.max(0, ((i + 0.5) * few) / many - 0.5));
    const low = Math.floor(position);
    return [low, Math.min(few - 1, low + 1), position - low];
  });
}

// The outline where a mask (0 to 255) crosses one half, over the unit square: marching squares, with a margin of zeros.
function outline({ width, height }, mask) {
  const path = new Path2D();
  const value = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : mask[y * width + x]);
  const share = (a, b) => (127.5 - a) / (b - a);
  for (let y = -1; y < height; y++) {
    for (let x = -1; x < width; x++) {
      const [a, b, c, d] = [value(x, y), value(x + 1, y), value(x + 1, y + 1), value(x, y + 1)];
      const crossings = [];
      if (a > 127.5 !== b > 127.5) crossings.push([x + share(a, b), y]);
      if (b > 127.5 !== c > 127.5) crossings.push([x + 1, y + share(b, c)]);
      if (d > 127.5 !== c > 127.5) crossings.push([x + share(d, c), y + 1]);
      if (a > 127.5 !== d > 127.5) crossings.push([x, y + share(a, d)]);
      for (let i = 0; i + 1 < crossings.length; i += 2) {
        path.moveTo((crossings[i][0] + 0.5) / width, (crossings[i][1] + 0.5) / height);
        path.lineTo((crossings[i + 1][0] + 0.5) / width, (crossings[i + 1][1] + 0.5) / height);
      }
    }
  }
  return path;
}

// A box, as shares [left, top, right, bottom] of an image, as a mask: so it turns with the image.
function boxMask([left, top, right, bottom]) {
  const values = new Uint8Array(BOX_CELLS * BOX_CELLS);
  const [x, end, y, last] = [left, right, top, bottom].map((share) => Math.round(share * BOX_CELLS));
  for (let row = y; row < last; row++) values.fill(255, row * BOX_CELLS + x, row * BOX_CELLS + end);
  return { width: BOX_CELLS, height: BOX_CELLS, values };
}

// One image on one canvas. Draws what is given to it and keeps nothing of the user's choices.
class Sheet {
  constructor(canvas, image) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    if (!this.context) throw new Error("this browser gives no canvas");
    this.image = image;
    this.table = new Uint32Array(2 ** image.bits);
    this.shaded = blank(1, 1);
    this.shadedOf = ""; // window, level and part of the image that `shaded` shows
  }

  // Screen pixels per image pixel, (across, down), at which the whole image is seen; `aspect` is a pixel's height / width.
  fit(aspect) {
    const { width, height } = this.image.levels[0];
    const across = Math.min(this.canvas.width / width, this.canvas.height / (height * aspect));
    return [across, across * aspect];
  }

  // Where the image lies: x = left + across * image x. `view` has the zoom (1: all is seen) and what is in the middle.
  place(view, aspect) {
    const { width, height } = this.image.levels[0];
    const [across, down] = this.fit(aspect).map((size) => size * view.zoom);
    const left = Math.round(this.canvas.width / 2 - view.x * width * across); // whole pixels: 1:1 stays sharp
    const top = Math.round(this.canvas.height / 2 - view.y * height * down);
    return { across, down, left, top, width: width * across, height: height * down };
  }

  draw(view, aspect, windowed, over) {
    const place = this.place(view, aspect);
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    this.context.fillStyle = "#000";
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.drawImage(place, windowed);
    if (over.heat) this.drawHeat(place, over.heat, over.opacity);
    if (over.lungs) this.drawOutline(place, over.lungs, OUTLINE);
    if (over.box) this.drawOutline(place, over.box, BOX);
    if (over.spacing) this.drawBar(place, over.spacing);
    if (over.line) this.drawLine(place, over.line);
  }

  // A measured line with its length; its ends are in image pixels.
  drawLine(place, { from, to, words }) {
    const at = (end) => [place.left + end.x * place.across, place.top + end.y * place.down];
    const path = new Path2D();
    path.moveTo(...at(from));
    path.lineTo(...at(to));
    this.stroke(path, "#ffd666", 1.75);
    const [x, y] = at(to);
    this.drawWords(words, Math.min(x + 8 * devicePixelRatio, this.canvas.width - 90 * devicePixelRatio), y - 4 * devicePixelRatio);
  }

  drawWords(text, x, y) {
    const unit = devicePixelRatio;
    this.context.font = `500 ${12 * unit}px ${getComputedStyle(this.canvas).fontFamily}`;
    this.context.textBaseline = "bottom";
    this.context.lineWidth = 3 * unit;
    this.context.strokeStyle = "rgba(0, 0, 0, 0.75)";
    this.context.strokeText(text, x, y);
    this.context.fillStyle = "#fff";
    this.context.fillText(text, x, y);
  }

  drawImage(place, windowed) {
    const depth = Math.max(0, Math.floor(Math.log2(1 / Math.max(place.across, place.down)) + 0.01));
    const level = levelOf(this.image, depth);
    const size = 2 ** depth; // image pixels per pixel of this level
    const part = this.visible(place, level, size);
    if (part.width <= 0 || part.height <= 0) return;
    this.shade(level, depth, part, windowed);
    const { context } = this;
    context.save();
    context.beginPath();
    context.rect(place.left, place.top, place.width, place.height);
    context.clip(); // the last pixels of a halved level may reach beyond the image
    context.imageSmoothingEnabled = place.across < SMOOTH_BELOW;
    context.drawImage(
      this.shaded, 0, 0, part.width, part.height,
      place.left + part.x * size * place.across, place.top + part.y * size * place.down,
      part.width * size * place.across, part.height * size * place.down,
    );
    context.restore();
  }

  // The part of a level that is on the screen, in its pixels, with one more on each side for smoothing.
  visible(place, level, size) {
    const x = Math.max(0, Math.floor(-place.left / place.across / size) - 1);
    const y = Math.max(0, Math.floor(-place.top / place.down / size) - 1);
    const right = Math.min(level.width, Math.ceil((this.canvas.width - place.left) / place.across / size) + 1);
    const bottom = Math.min(level.height, Math.ceil((this.canvas.height - place.top) / place.down / size) + 1);
    return { x, y, width: right - x, height: bottom - y };
  }

  // Grey levels of a part through the table, at the level's own resolution; skipped where nothing has changed.
  shade(level, depth, part, { centre, width, inverted }) {
    const window = `${centre} ${width} ${inverted}`;
    const of = `${window} ${depth} ${part.x} ${part.y} ${part.width} ${part.height}`;
    if (of === this.shadedOf) return;
    if (window !== this.tableOf) lookUpTable(this.image.bits, centre, width, inverted, this.table);
    this.tableOf = window;
    if (this.shaded.width !== part.width || this.shaded.height !== part.height || !this.greys) {
      this.shaded.width = part.width;
      this.shaded.height = part.height;
      this.shadedContext = this.shaded.getContext("2d", { alpha: false });
      this.greys = this.shadedContext.createImageData(part.width, part.height);
      this.words = new Uint32Array(this.greys.data.buffer);
    }
    const { words, table } = this;
    const { values } = level;
    for (let y = 0, at = 0; y < part.height; y++) {
      let from = (part.y + y) * level.width + part.x;
      for (const end = at + part.width; at < end; at++, from++) words[at] = table[values[from]];
    }
    this.shadedContext.putImageData(this.greys, 0, 0);
    this.shadedOf = of;
  }

  drawHeat(place, heat, opacity) {
    this.context.globalAlpha = opacity;
    this.context.imageSmoothingEnabled = true;
    this.context.drawImage(heat, place.left, place.top, place.width, place.height);
    this.context.globalAlpha = 1;
  }

  drawOutline(place, around, colour) {
    const path = new Path2D();
    path.addPath(around, new DOMMatrix([place.width, 0, 0, place.height, place.left, place.top]));
    this.stroke(path, colour, 1.25);
  }

  // A bar of a round length, in the lower left corner.
  drawBar(place, spacing) {
    const perMillimetre = place.across / spacing[1];
    const length = BAR_LENGTHS.find((one) => one * perMillimetre <= this.canvas.width / 4) ?? BAR_LENGTHS.at(-1);
    const unit = devicePixelRatio;
    const [left, bottom] = [14.5 * unit, this.canvas.height - 14.5 * unit];
    const right = left + length * perMillimetre;
    const path = new Path2D();
    path.moveTo(left, bottom - 6 * unit);
    path.lineTo(left, bottom);
    path.lineTo(right, bottom);
    path.lineTo(right, bottom - 6 * unit);
    this.stroke(path, "#fff", 1.5);
    const words = length >= 10 ? `${length / 10} cm` : `${length} mm`;
    this.drawWords(words, left + 5 * unit, bottom - 3 * unit);
  }

  // A thin line that is seen on bright and on dark ground.
  stroke(path, colour, width) {
    const { context } = this;
    context.lineJoin = context.lineCap = "round";
    context.strokeStyle = "rgba(0, 0, 0, 0.6)";
    context.lineWidth = (width + 2) * devicePixelRatio;
    context.stroke(path);
    context.strokeStyle = colour;
    context.lineWidth = width * devicePixelRatio;
    context.stroke(path);
  }

  // A place of the canvas in image pixels, not rounded; it may lie beside the image.
  imagePlace(view, aspect, at) {
    const place = this.place(view, aspect);
    return { x: (at.x - place.left) / place.across, y: (at.y - place.top) / place.down };
  }

  // The image pixel under a place of the canvas (in its own pixels), or null beside the image.
  pixelAt(view, aspect, at) {
    const { width, height, values } = this.image.levels[0];
    const place = this.place(view, aspect);
    const x = Math.floor((at.x - place.left) / place.across);
    const y = Math.floor((at.y - place.top) / place.down);
    return x < 0 || y < 0 || x >= width || y >= height ? null : { x, y, value: values[y * width + x] };
  }
}
