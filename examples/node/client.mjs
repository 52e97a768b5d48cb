// A sender and taker in plain Node, without packages: docs/contract/sender.md and taker.md, line by line.

import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { Connection } from "./connection.mjs";
import { pack, unpack } from "./messagepack.mjs";

const DIST = new URL("../../dist/", import.meta.url);
const NAMES = ["hello", "push", "pop", "group_change", "group_send"];
const SCRIPTS = Object.fromEntries(NAMES.map((name) => {
  const text = readFileSync(new URL(`${name}.lua`, DIST));
  return [name, { text, sha: createHash("sha1").update(text).digest("hex") }];
}));
const SCHEMA = 3, LEASE_MS = 60_000, TRIES = 5;

export class Failure extends Error {
  constructor(kind, text) {
    super(text);
    this.kind = kind; // "invalid", "full", "not_sent", "perhaps_sent" or "other"
  }
}

export class Client {
  constructor({ url, prefix = "asgi:", expiryMs = 60_000, capacity = 100, inboxCapacity = 10_000, timeoutMs = 5_000 }) {
    Object.assign(this, { url, prefix, expiryMs, capacity, inboxCapacity, timeoutMs });
    this.client = randomBytes(16).toString("hex"); // R5
    this.generation = 0;
    this.greeted = null; // the connection on which this client has said hello
  }

  async send(channel, message) {
    const [queue, address] = split(checkChannel(channel));
    const body = Buffer.concat([Buffer.from(`m${address} `), pack(message)]);
    const capacity = queue.endsWith("!") ? this.inboxCapacity : this.capacity;
    const isFenced = /[?!]/.test(queue); // R15
    const reply = await this.#call("push", isFenced, [`${this.prefix}q:${queue}`], () =>
      [this.prefix, this.expiryMs, ...this.#fence(isFenced), capacity, 1, body]);
    if (String(reply) === "sent") return;
    const live = reply[2];
    if (Buffer.isBuffer(live)) throw new Failure("other", live.toString());
    throw new Failure("full", `${channel} has ${live} messages`);
  }

  // Returns [channel, message], or null if nothing is there. A message whose reply is lost is lost.
  async take(channels) {
    const queues = channels.map(checkChannel).sort(() => Math.random() - 0.5);
    const keys = [`${this.prefix}c:`, ...queues.map((queue) => `${this.prefix}q:${queue}`)];
    for (;;) {
      const [, served, ticket, queue, entry] = await this.#call("pop", false, keys, () =>
        [this.prefix, "", 0, 0, 0, 1, "try", queues.length]);
      if (ticket === undefined && served === 0) continue; // so many had expired
      if (ticket === undefined) return null;
      if (!queue.length) throw new Failure("other", entry.toString());
      const space = entry.indexOf(" ", 19);
      if (entry.length <= 18 || !"mg".includes(String.fromCharCode(entry[18])) || space < 0) continue; // no entry
      try {
        return [queue.toString(), unpack(entry.subarray(space + 1))];
      } catch {
        continue; // no message
      }
    }
  }

  groupAdd(group, channel, lifeMs = 86_400_000) { return this.#change("+", group, channel, lifeMs); }
  groupDiscard(group, channel) { return this.#change("-", group, channel, ""); }

  async groupSend(group, message) {
    const body = Buffer.concat([Buffer.from(`g${checkGroup(group)} `), pack(message)]);
    for (let cursor = ""; ;) {
      const reply = await this.#call("group_send", false, [`${this.prefix}g:${group}`], () =>
        [this.prefix, group, this.expiryMs, "", "", cursor, "", body]);
      cursor = reply[1];
      if (!cursor.length) return;
    }
  }

  close() { this.connection?.drop(); }

  async #change(kind, group, channel, time) {
    const [queue, address] = split(checkChannel(channel));
    const keys = ["i", "q", "s"].map((shape) => `${this.prefix}${shape}:${queue}`);
    const [, , , , , error] = await this.#call("group_change", false, keys, () =>
      [this.prefix, queue, "", "", "", this.inboxCapacity, kind, checkGroup(group), address, time]);
    if (error) throw new Failure("other", error.toString());
  }

  #fence(isFenced) { return isFenced ? [this.client, this.generation] : ["", ""]; }

  // Calls a script; again after `stale` and NOSCRIPT, which mean that nothing was done (R12). `args` is asked anew for each try.
  async #call(name, isFenced, keys, args) {
    for (let tries = 0; tries < TRIES; tries++) {
      const connection = await this.#connected();
      if (isFenced && this.greeted !== connection) await this.#greet(connection);
      const reply = await connection.call(["EVALSHA", SCRIPTS[name].sha, keys.length, ...keys, ...args()]);
      if (reply instanceof Error && reply.message.startsWith("NOSCRIPT")) await this.#load(connection, name);
      else if (reply instanceof Error && reply.message.startsWith("READONLY")) {
        connection.drop(); // R30
        throw new Failure("not_sent", reply.message);
      } else if (reply instanceof Error) throw new Failure("other", reply.message);
      else if (String(reply[0]) === "stale") this.greeted = null;
      else return reply;
    }
    throw new Failure("not_sent", `${name} was refused ${TRIES} times`);
  }

  async #connected() {
    if (this.connection && !this.connection.isBroken) return this.connection;
    const connection = await Connection.open(this.url, this.timeoutMs, Failure);
    const schema = await connection.call(["GET", `${this.prefix}schema`]);
    if (schema !== null && String(schema) !== String(SCHEMA)) {
      connection.drop();
      throw new Failure("not_sent", `the data have schema ${schema}, this client has ${SCHEMA}`);
    }
    return (this.connection = connection);
  }

  async #greet(connection) {
    for (;;) {
      this.generation += 1;
      const keys = [`${this.prefix}c:${this.client}`, `${this.prefix}schema`];
      const reply = await connection.call(["EVALSHA", SCRIPTS.hello.sha, 2, ...keys, this.generation, LEASE_MS, SCHEMA]);
      if (reply instanceof Error && reply.message.startsWith("NOSCRIPT")) await this.#load(connection, "hello");
      else if (reply instanceof Error) throw new Failure("not_sent", reply.message);
      else if (String(reply[0]) === "stale") this.generation = reply[1];
      else if (String(reply[0]) === "schema") throw new Failure("not_sent", `the data have schema ${reply[1]}`);
      else return (this.greeted = connection);
    }
  }

  #load(connection, name) { return connection.call(["SCRIPT", "LOAD", SCRIPTS[name].text]); }
}

function checkChannel(name) {
  if (typeof name === "string" && name.length <= 100 && /^[A-Za-z0-9_.-]+([?!][A-Za-z0-9_.-]+)?$/.test(name) && !name.endsWith("\n")) return name;
  throw new Failure("invalid", `${JSON.stringify(name)} is no channel`);
}

function checkGroup(name) {
  if (typeof name === "string" && name.length <= 100 && /^[A-Za-z0-9_.-]+$/.test(name)) return name;
  throw new Failure("invalid", `${JSON.stringify(name)} is no group`);
}

function split(channel) {
  const mark = channel.indexOf("!") + 1;
  return mark ? [channel.slice(0, mark), channel.slice(mark)] : [channel, ""];
}
