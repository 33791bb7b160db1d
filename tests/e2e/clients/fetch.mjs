// Node's fetch against tests/apps/mirror.py: prints one JSON object of what it found. Started by test_node.py.
import { createHash } from "node:crypto";

const base = process.argv[2];
const sha256 = (data) => createHash("sha256").update(data).digest("hex");
const found = {};

const first = await (await fetch(`${base}/who?a=1`)).json();
const head = await fetch(`${base}/who`, { method: "HEAD" });
found.head = [head.status, (await head.text()).length, Number(head.headers.get("content-length")) > 0];
const moved = await fetch(`${base}/moved`);
found.moved = [moved.redirected, moved.url === `${base}/who`];
await moved.text();
const second = await (await fetch(`${base}/who?a=2`)).json();
found.reused = first.port === second.port;

found.packed = (await (await fetch(`${base}/packed`)).text()) === "shard ".repeat(10000);
const large = new Uint8Array(await (await fetch(`${base}/large?8000000`)).arrayBuffer());
found.large = large.length === 8000000 && large.every((octet, at) => octet === at % 256);

const data = new Uint8Array(3000000).map((_, at) => (at * 7919) % 251);
const put = async (body, more) => (await fetch(`${base}/size`, { method: "POST", body, ...more })).json();
const blocks = new ReadableStream({
    start(controller) {
        for (let at = 0; at < data.length; at += 99999) controller.enqueue(data.slice(at, at + 99999));
        controller.close();
    },
});
const expected = JSON.stringify({ size: data.length, sha256: sha256(data) });
found.upload = JSON.stringify(await put(data)) === expected;
found.chunked = JSON.stringify(await put(blocks, { duplex: "half" })) === expected;
const form = new FormData();
form.append("file", new Blob([data]), "file.bin");
found.form = (await put(form)).size > data.length;

const abort = new AbortController();
const endless = await fetch(`${base}/endless`, { signal: abort.signal });
const reader = endless.body.getReader();
found.endless = new TextDecoder().decode((await reader.read()).value).startsWith("data: tick");
abort.abort();
await reader.read().catch((error) => (found.aborted = error.name));

const many = await Promise.all(
    Array.from({ length: 64 }, async (_, number) =>
        (await fetch(`${base}/echo`, { method: "POST", body: `${number}` })).text(),
    ),
);
found.many = many.every((text, number) => text === `${number}`);
console.log(JSON.stringify(found));
