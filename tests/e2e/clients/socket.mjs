// Node's ws against the WebSocket of tests/apps/mirror.py: prints one JSON object of what it found. Started by
// test_node.py, with NODE_PATH set.
import { createRequire } from "node:module";
import { once } from "node:events";

const WebSocket = createRequire(import.meta.url)("ws");
const url = `${process.argv[2]}/socket`;
const found = {};
const data = Buffer.alloc(3_000_000, "shard and serve ");

async function echo(socket, message, options) {
    const answer = once(socket, "message");
    socket.send(message, options);
    const [got, binary] = await answer;
    return binary === (message instanceof Buffer) && Buffer.compare(got, Buffer.from(message)) === 0;
}

for (const perMessageDeflate of [false, true]) {
    const socket = new WebSocket(url, { perMessageDeflate });
    await once(socket, "open");
    const name = perMessageDeflate ? "deflate" : "plain";
    found[`${name}: negotiated`] = socket.extensions.startsWith("permessage-deflate") === perMessageDeflate;
    found[`${name}: text`] = await echo(socket, "é".repeat(50_000));
    found[`${name}: binary`] = await echo(socket, data);
    found[`${name}: empty`] = await echo(socket, "");
    const fragments = once(socket, "message");
    for (const part of ["in ", "frag", "ments"]) socket.send(part, { fin: part === "ments" });
    found[`${name}: fragments`] = `${(await fragments)[0]}` === "in fragments";
    const pong = once(socket, "pong");
    socket.ping("are you there?");
    found[`${name}: pong`] = `${(await pong)[0]}` === "are you there?";
    socket.close(4002, "done");
    const [code, reason] = await once(socket, "close");
    found[`${name}: close`] = code === 4002 && `${reason}` === "done";
}

const many = await Promise.all(
    Array.from({ length: 50 }, async (_, number) => {
        const socket = new WebSocket(url);
        await once(socket, "open");
        const good = await echo(socket, `${number}`);
        socket.terminate(); // without a close
        return good;
    }),
);
found.many = many.every((good) => good);
console.log(JSON.stringify(found));
