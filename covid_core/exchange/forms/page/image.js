// An image file to a grey square, as Second Look makes it: upright, grey by luma, squashed with Pillow's Lanczos filter.

const REACH = 3; // of the Lanczos filter, in pixels of the result
const UNIT = 2 ** 22; // weights are whole multiples of 1 / UNIT, as Pillow has them
const PNG = [0x89, 0x50, 0x4e, 0x47];
const SMALLEST_SIDE = 32, LARGEST_ASPECT = 8, MOST_PIXELS = 64e6; // as the app has them
const GREY_JPEG = 1, COLOUR_JPEG = 3;

// The square of a file, Uint8Array of size * size. Throws an Error with a sentence where it cannot be read faithfully.
export async function squareOf(file, size) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  checkKind(bytes);
  let bitmap;
  try {
    bitmap = await createImageBitmap(new Blob([bytes]), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new Error("The image is damaged or cut off.");
  }
  checkSize(bitmap);
  const grey = greyOf(bitmap);
  if (grey.every((one) => one === grey[0])) throw new Error("The image has no content: all its pixels are equal.");
  return squash(grey, bitmap.width, bitmap.height, size);
}

function checkKind(bytes) {
  const isPng = PNG.every((byte, place) => bytes[place] === byte);
  if (!isPng && !(bytes[0] === 0xff && bytes[1] === 0xd8)) throw new Error("This is no PNG or JPEG image.");
  if (isPng && bytes[24] > 8) throw new Error("The image has more than 8 bits per pixel. Save it with 8 bits first.");
  if (!isPng && ![GREY_JPEG, COLOUR_JPEG].includes(jpegComponents(bytes)))
    throw new Error("The file holds printing colours (CMYK). Save it as grey or RGB.");
}

function checkSize({ width, height }) {
  const [short, long] = [Math.min(width, height), Math.max(width, height)];
  if (short < SMALLEST_SIDE) throw new Error(`The image is too small: at least ${SMALLEST_SIDE} pixels are needed.`);
  if (long > LARGEST_ASPECT * short) throw new Error(`The image is a strip of ${width} x ${height} pixels.`);
  if (short * long > MOST_PIXELS) throw new Error("The image has more than 64 million pixels.");
}

// How many colours a JPEG file has, from its frame header; 0 where there is none.
function jpegComponents(bytes) {
  for (let at = 2; at + 9 < bytes.length; ) {
    const marker = bytes[at + 1];
    if (bytes[at] !== 0xff) return 0;
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) return bytes[at + 9];
    at += 2 + bytes[at + 2] * 256 + bytes[at + 3];
  }
  return 0;
}

function greyOf(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  const grey = new Uint8Array(data.length / 4);
  for (let pixel = 0, at = 0; pixel < grey.length; pixel += 1, at += 4) {
    if (data[at + 3] !== 255) throw new Error("Parts of the image are transparent. Save it without transparency.");
    grey[pixel] = (data[at] * 19595 + data[at + 1] * 38470 + data[at + 2] * 7471 + 0x8000) >> 16;
  }
  return grey;
}

// Rows first, then columns, each rounded to whole greys. (Pillow 13 turns that round for some tall images.)
function squash(grey, width, height, size) {
  if (width === size && height === size) return grey;
  return transposed(shrunk(transposed(shrunk(grey, width, height, size), size, height), height, size, size), size, size);
}

// Each of the rows, width pixels long, as size pixels.
function shrunk(grey, width, rows, size) {
  if (width === size) return grey;
  const result = new Uint8Array(rows * size);
  weightsOf(width, size).forEach(([first, weights], column) => {
    for (let row = 0; row < rows; row += 1) {
      let sum = UNIT / 2;
      for (let tap = 0; tap < weights.length; tap += 1) sum += grey[row * width + first + tap] * weights[tap];
      result[row * size + column] = Math.min(255, Math.max(0, Math.floor(sum / UNIT)));
    }
  });
  return result;
}

function weightsOf(width, size) {
  const scale = width / size, stretch = Math.max(scale, 1);
  return Array.from({ length: size }, (_, column) => {
    const centre = (column + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - REACH * stretch + 0.5));
    const last = Math.min(width, Math.trunc(centre + REACH * stretch + 0.5));
    const raw = Array.from({ length: last - first }, (_, tap) => lanczos((first + tap - centre + 0.5) / stretch));
    const total = raw.reduce((sum, weight) => sum + weight, 0);
    return [first, raw.map((weight) => Math.trunc((weight / total) * UNIT + (weight < 0 ? -0.5 : 0.5)))];
  });
}

function lanczos(x) {
  return x >= -REACH && x < REACH ? sinc(x) * sinc(x / REACH) : 0;
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

function transposed(grey, width, height) {
  const result = new Uint8Array(grey.length);
  for (let row = 0; row < height; row += 1)
    for (let column = 0; column < width; column += 1) result[column * height + row] = grey[row * width + column];
  return result;
}
