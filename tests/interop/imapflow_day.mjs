// imapflow: a day with a second program at work on the same mailboxes; see tests/interop/conversation.rs.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// Found through NODE_PATH, which only require() knows.
const { ImapFlow } = createRequire(import.meta.url)("imapflow");
const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Says what is done, and goes on when the other side has looked at it and done its own part. */
async function step(done) {
  console.log(done);
  const { value } = await input.next();
  assert.equal(value, "go", done);
}

/** Until look() says something; a minute at most. */
async function waitFor(what, look) {
  const end = Date.now() + 60_000;
  while (Date.now() < end) {
    const found = await look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`waited in vain for ${what}`);
}

const client = (port, secure) => new ImapFlow({
  host: "localhost",
  port: Number(port),
  secure,
  doSTARTTLS: secure ? undefined : true,
  tls: { ca: readFileSync(process.env.CA) },
  auth: { user: `alice@${process.env.DOMAIN}`, pass: process.env.PASSWORD },
  logger: false,
  disableAutoIdle: true,
});

const clear = client(process.env.IMAP, false);
await clear.connect();
assert.ok(clear.secureConnection, "STARTTLS");
await clear.logout();

const imap = client(process.env.IMAPS, true);
await imap.connect();
const listed = await imap.list({ statusQuery: { messages: true } });
const uses = new Map(listed.map((mailbox) => [mailbox.path, mailbox.specialUse]));
assert.equal(uses.get("INBOX"), "\\Inbox");
for (const name of ["Sent", "Archive", "Trash"]) assert.equal(uses.get(name), `\\${name}`);
assert.equal(listed.find((mailbox) => mailbox.path === "INBOX").status.messages, 1);
await imap.mailboxCreate("Gr\u00fcn");
assert.ok((await imap.list()).some((mailbox) => mailbox.path === "Gr\u00fcn"));

await imap.mailboxOpen("INBOX");
const appended = await imap.append("INBOX", "Subject: from the client\r\n\r\nits text\r\n", ["\\Seen"]);
assert.ok(appended.uid, "UIDPLUS");
await step("appended");

const [uid] = await waitFor("the message of the other side", async () => {
  const found = await imap.search({ subject: "from the other side" }, { uid: true });
  return found.length > 0 && found;
});
const message = await imap.fetchOne(uid, { source: true, envelope: true, bodyStructure: true, size: true }, { uid: true });
assert.equal(message.source.toString(), `Subject: from the other side\r\n\r\n${"the text\r\n".repeat(40_000)}`);
assert.equal(message.envelope.subject, "from the other side");
assert.equal(message.bodyStructure.type, "text/plain");
assert.equal(message.size, message.source.length);
// Fetched chunk by chunk.
const { content } = await imap.download(uid, undefined, { uid: true });
const pieces = [];
for await (const piece of content) pieces.push(piece);
assert.equal(Buffer.concat(pieces).toString(), message.source.toString());
assert.ok(await imap.messageFlagsAdd(uid, ["\\Flagged", "$Label1"], { uid: true }));
await step("flagged");

const flags = async () => (await imap.fetchOne(uid, { flags: true }, { uid: true })).flags;
await waitFor("the flags of the other side", async () => (await flags()).has("\\Answered"));
assert.ok(!(await flags()).has("\\Flagged"));
const moved = await imap.messageMove(uid, "Archive", { uid: true });
assert.equal(moved.uidMap.size, 1, "COPYUID");
assert.deepEqual(await imap.search({ subject: "from the other side" }), []);
await step("moved");

let count = 0;
imap.on("exists", (event) => { count = event.count; });
const idle = imap.idle();
await waitFor("IDLE", () => imap.idling);
await step("idling");
await waitFor("EXISTS while idle", () => count === 3);
await imap.noop();
await idle;
assert.equal((await imap.search({ subject: "while idle" })).length, 1);
await step("told");

await imap.mailboxOpen("Trash");
assert.equal((await imap.search({ subject: "from the other side" })).length, 1);
assert.equal((await imap.status("Archive", { messages: true })).messages, 0);
await imap.logout();
await step("done");
process.exit(0);
