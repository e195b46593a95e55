// An image's numbers: from a message to grey levels, and from grey levels to the screen's 256.

const ARRIVAL = 30000; // milliseconds that an image may take after the page has asked for it

// The header and the packed rest of a message (see __init__.py).
function opened(message) {
  const length = new DataView(message.buffer, message.byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(message.subarray(4, 4 + length)));
  return { header, packed: message.slice(4 + length) };
}

async function inflated(packed) {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// The image of a message: its levels of detail, the first as sent, each next one half as wide and high.
async function imageOf({ header, packed }) {
  const { id, width, height, bits } = header;
  const planes = await inflated(packed);
  if (planes.length !== (width * height * bits) / 8) throw new Error("the image's message is incomplete");
  const values = bits === 8 ? new Uint8Array(width * height) : new Uint16Array(width * height);
  const high = bits === 8 ? null : planes.subarray(width * height);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0, value = 0; x < width; x++, at++) {
      const folded = high ? planes[at] | (high[at] << 8) : planes[at];
      value += (folded >> 1) ^ -(folded & 1);
      values[at] = value; // the array's type takes the modulus
    }
  }
  return { id, bits, levels: [{ width, height, values }] };
}

// Each pixel the mean of the up to four that it covers.
function halved({ width, height, values }) {
  const w = Math.ceil(width / 2);
  const h = Math.ceil(height / 2);
  const half = new values.constructor(w * h);
  for (let y = 0; y < h; y++) {
    const upper = 2 * y * width;
    const lower = 2 * y + 1 < height ? upper + width : upper;
    for (let x = 0; x < w; x++) {
      const left = 2 * x;
      const right = left + 1 < width ? left + 1 : left;
      half[y * w + x] = (values[upper + left] + values[upper + right] + values[lower + left] + values[lower + right] + 2) >> 2;
    }
  }
  return { width: w, height: h, values: half };
}

// Rows of values turned by quarters clockwise, then mirrored left to right.
function turned({ width, height, values }, { quarters, mirrored }) {
  if (!quarters && !mirrored) return { width, height, values };
  const [w, h] = quarters % 2 ? [height, width] : [width, height];
  const result = new values.constructor(values.length);
  for (let y = 0, at = 0; y < h; y++) {
    for (let column = 0; column < w; column++, at++) {
      const x = mirrored ? w - 1 - column : column;
      const from = [y * width + x, (height - 1 - x) * width + y, (height - 1 - y) * width + width - 1 - x, x * width + width - 1 - y];
      result[at] = values[from[quarters]];
    }
  }
  return { width: w, height: h, values: result };
}

// An image turned; it shares nothing with the image as it came but its depth.
function turnedImage(image, orientation) {
  if (!orientation.quarters && !orientation.mirrored) return image;
  return { ...image, levels: [turned(image.levels[0], orientation)] };
}

// Grey levels below which the given shares of the pixels lie, from every so many of them.
function levelsAt(image, shares) {
  const { values } = image.levels[0];
  const some = values.filter((_, at) => at % Math.ceil(values.length / 65536) === 0).sort();
  return shares.map((share) => some[Math.min(some.length - 1, Math.floor(share * some.length))]);
}

function levelOf(image, depth) {
  while (image.levels.length <= depth) image.levels.push(halved(image.levels[image.levels.length - 1]));
  return image.levels[depth];
}

// What each grey level looks like on the screen, opaque, as one 32-bit number per level:
// clamp((v - (centre - width / 2)) / width), in 256 steps.
function lookUpTable(bits, centre, width, inverted, table) {
  const low = centre - width / 2;
  for (let value = 0; value < table.length; value++) {
    const share = Math.min(1, Math.max(0, (value - low) / width));
    const grey = Math.round(255 * (inverted ? 1 - share : share));
    table[value] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
}

// Images that arrived, by their identity, for as long as a message on the page holds them.
const shelf = new Map();

function slotOf(id) {
  if (!shelf.has(id)) {
    const slot = { holders: new Set() };
    slot.image = new Promise((settle) => (slot.settle = settle));
    shelf.set(id, slot);
  }
  return shelf.get(id);
}

function hold(holder, message) {
  const slot = slotOf(message.header.id);
  if (slot.holders.size === 0) slot.settle(imageOf(message));
  slot.image.catch((error) => console.debug("Image viewer:", error)); // told to the user by the viewer that asks for it
  slot.holders.add(holder);
}

function release(holder, but) {
  for (const [id, slot] of shelf) {
    if (id !== but && slot.holders.delete(holder) && slot.holders.size === 0) shelf.delete(id);
  }
}

// An image by its identity; its message may come before or after those who ask for it.
function arrival(id) {
  const late = new Promise((_, refuse) => setTimeout(() => refuse(new Error("the image did not arrive")), ARRIVAL));
  return Promise.race([slotOf(id).image, late]);
}
