// One RESP2 connection that is never opened again: what was written and not answered when it breaks was perhaps executed.

import net from "node:net";

export class Connection {
  static open(url, timeoutMs, Failure) {
    const { hostname, port } = new URL(url);
    return new Promise((resolve, reject) => {
      const socket = net.connect({ host: hostname, port: Number(port || 6379), noDelay: true });
      const late = setTimeout(() => socket.destroy(new Error("no connection in time")), timeoutMs);
      socket.once("error", (error) => reject(new Failure("not_sent", error.message)));
      socket.once("connect", () => {
        clearTimeout(late);
        resolve(new Connection(socket, timeoutMs, Failure));
      });
    });
  }

  constructor(socket, timeoutMs, Failure) {
    Object.assign(this, { socket, timeoutMs, Failure, waiting: [], unread: Buffer.alloc(0), isBroken: false });
    socket.on("data", (some) => this.#read(some));
    socket.on("error", () => this.drop());
    socket.on("close", () => this.drop());
  }

  // Returns the reply; one that is an error is returned too.
  call(words) {
    return new Promise((resolve, reject) => {
      if (this.isBroken) return reject(new this.Failure("not_sent", "the connection is broken"));
      const late = setTimeout(() => this.drop(), this.timeoutMs);
      this.waiting.push({ resolve: (reply) => { clearTimeout(late); resolve(reply); }, reject, late });
      const parts = words.map((word) => (Buffer.isBuffer(word) ? word : Buffer.from(String(word))));
      this.socket.write(Buffer.concat([Buffer.from(`*${parts.length}\r\n`),
        ...parts.flatMap((part) => [Buffer.from(`$${part.length}\r\n`), part, Buffer.from("\r\n")])]));
    });
  }

  drop() {
    if (this.isBroken) return;
    this.isBroken = true;
    this.socket.destroy();
    for (const { reject, late } of this.waiting.splice(0)) {
      clearTimeout(late);
      reject(new this.Failure("perhaps_sent", "the connection was lost before the reply"));
    }
  }

  #read(some) {
    this.unread = Buffer.concat([this.unread, some]);
    for (let read; (read = parse(this.unread, 0)); ) {
      this.unread = this.unread.subarray(read.end);
      this.waiting.shift()?.resolve(read.value);
    }
  }
}

// Reads one reply; nothing if it is not whole yet.
function parse(bytes, at) {
  const line = bytes.indexOf("\r\n", at);
  if (line < 0) return undefined;
  const text = bytes.toString("latin1", at + 1, line), end = line + 2;
  switch (String.fromCharCode(bytes[at])) {
    case "+": return { value: text, end };
    case "-": return { value: new Error(text), end };
    case ":": return { value: Number(text), end };
    case "$": {
      const stop = end + Number(text);
      if (text === "-1") return { value: null, end };
      return bytes.length < stop + 2 ? undefined : { value: bytes.subarray(end, stop), end: stop + 2 };
    }
    default: {
      const value = [];
      for (let next = end, count = Number(text); ; count--) {
        if (count <= 0) return { value, end: next };
        const part = parse(bytes, next);
        if (!part) return undefined;
        value.push(part.value);
        next = part.end;
      }
    }
  }
}
