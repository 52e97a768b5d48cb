// What a message of the contract may hold, as MessagePack: nil, booleans, numbers, texts, bytes (Buffer), lists and maps.

export function pack(value) {
  if (value === null || value === undefined) return Buffer.from([0xc0]);
  if (typeof value === "boolean") return Buffer.from([value ? 0xc3 : 0xc2]);
  if (typeof value === "number" && Number.isSafeInteger(value)) return packInteger(value);
  if (typeof value === "number") {
    const bytes = Buffer.alloc(9, 0xcb);
    bytes.writeDoubleBE(value, 1);
    return bytes;
  }
  if (typeof value === "string") {
    const text = Buffer.from(value);
    return Buffer.concat([head(text.length, [0xa0, 32, 0xd9, 0xda, 0xdb]), text]);
  }
  if (Buffer.isBuffer(value)) return Buffer.concat([head(value.length, [0, 0, 0xc4, 0xc5, 0xc6]), value]);
  if (Array.isArray(value)) return Buffer.concat([head(value.length, [0x90, 16, null, 0xdc, 0xdd]), ...value.map(pack)]);
  const pairs = Object.entries(value);
  return Buffer.concat([head(pairs.length, [0x80, 16, null, 0xde, 0xdf]), ...pairs.flatMap(([key, part]) => [pack(key), pack(part)])]);
}

function packInteger(value) {
  if (value >= -32 && value < 128) return Buffer.from([value & 0xff]);
  const bytes = Buffer.alloc(9, 0xd3);
  bytes.writeBigInt64BE(BigInt(value), 1);
  return bytes;
}

function head(length, [small, below, one, two, four]) {
  if (length < below) return Buffer.from([small | length]);
  if (one !== null && length < 0x100) return Buffer.from([one, length]);
  const wide = length >= 0x10000, bytes = Buffer.alloc(wide ? 5 : 3, wide ? four : two);
  if (wide) bytes.writeUInt32BE(length, 1);
  else bytes.writeUInt16BE(length, 1);
  return bytes;
}

export function unpack(bytes) {
  const [value, end] = read(bytes, 0);
  if (end !== bytes.length) throw new RangeError("something stands behind the message");
  return value;
}

function read(bytes, at) {
  const kind = bytes.readUInt8(at++);
  const sized = (size) => [size === 1 ? bytes.readUInt8(at) : size === 2 ? bytes.readUInt16BE(at) : bytes.readUInt32BE(at), at + size];
  const some = ([length, from]) => {
    if (from + length > bytes.length) throw new RangeError("the message is cut");
    return [bytes.subarray(from, from + length), from + length];
  };
  const text = (where) => { const [part, end] = some(where); return [part.toString(), end]; };
  const list = ([count, from]) => {
    const parts = [];
    for (; count > 0; count--) { let part; [part, from] = read(bytes, from); parts.push(part); }
    return [parts, from];
  };
  const map = ([count, from]) => {
    const [parts, end] = list([count * 2, from]);
    return [Object.fromEntries(Array.from({ length: count }, (_, place) => [parts[2 * place], parts[2 * place + 1]])), end];
  };
  if (kind < 0x80) return [kind, at];
  if (kind < 0x90) return map([kind & 15, at]);
  if (kind < 0xa0) return list([kind & 15, at]);
  if (kind < 0xc0) return text([kind & 31, at]);
  if (kind >= 0xe0) return [kind - 256, at];
  switch (kind) {
    case 0xc0: return [null, at];
    case 0xc2: return [false, at];
    case 0xc3: return [true, at];
    case 0xc4: case 0xc5: case 0xc6: return some(sized(1 << (kind - 0xc4)));
    case 0xca: return [bytes.readFloatBE(at), at + 4];
    case 0xcb: return [bytes.readDoubleBE(at), at + 8];
    case 0xcc: case 0xcd: case 0xce: return sized(1 << (kind - 0xcc));
    case 0xcf: return [Number(bytes.readBigUInt64BE(at)), at + 8];
    case 0xd0: return [bytes.readInt8(at), at + 1];
    case 0xd1: return [bytes.readInt16BE(at), at + 2];
    case 0xd2: return [bytes.readInt32BE(at), at + 4];
    case 0xd3: return [Number(bytes.readBigInt64BE(at)), at + 8];
    case 0xd9: case 0xda: case 0xdb: return text(sized(1 << (kind - 0xd9)));
    case 0xdc: case 0xdd: return list(sized(2 << (kind - 0xdc)));
    case 0xde: case 0xdf: return map(sized(2 << (kind - 0xde)));
    default: throw new RangeError(`no value begins with ${kind}`);
  }
}
