// The client as a peer of `asgi-redis conformance`: docs/contract/driver.md has the lines.

import { createInterface } from "node:readline";
import { Client, Failure } from "./client.mjs";

let client;
const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const fromJson = (value) => {
  if (Array.isArray(value)) return value.map(fromJson);
  if (value === null || typeof value !== "object") return value;
  if (typeof value.$bytes === "string") return Buffer.from(value.$bytes, "base64");
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, fromJson(part)]));
};

const toJson = (value) => {
  if (Buffer.isBuffer(value)) return { $bytes: value.toString("base64") };
  if (Array.isArray(value)) return value.map(toJson);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, toJson(part)]));
};

const WORK = {
  open: ({ hosts, prefix, expiry_ms, capacity, inbox_capacity, timeout_ms }) => {
    client = new Client({ url: hosts[0], prefix, expiryMs: expiry_ms, capacity, inboxCapacity: inbox_capacity, timeoutMs: timeout_ms });
    return null;
  },
  send: ({ channel, message }) => client.send(channel, fromJson(message)),
  receive: async ({ channels }) => toJson(await client.take(channels)),
  group_add: ({ group, channel }) => client.groupAdd(group, channel),
  group_discard: ({ group, channel }) => client.groupDiscard(group, channel),
  group_send: ({ group, message }) => client.groupSend(group, fromJson(message)),
  close: () => client.close(),
};

tell({ tiers: ["sender", "taker"] });
createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, do: what, ...rest } = JSON.parse(line);
  try {
    tell({ id, ok: (await WORK[what](rest)) ?? null });
  } catch (error) {
    tell({ id, error: error instanceof Failure ? error.kind : "other", text: error.message });
  }
}).on("close", () => process.exit());
