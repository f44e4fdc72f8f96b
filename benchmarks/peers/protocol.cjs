// How a runner of a Node package talks to benchmarks/peers.py: protocol.py in JavaScript.
const fs = require('fs');
const readline = require('readline');

const EMOTIONS = ['angry', 'disgust', 'fear', 'happy', 'neutral', 'sad', 'surprise'];
const ROUNDED = 0.005; // what stands for a probability that a peer rounded down to .00

const say = (reply) => fs.writeSync(1, `${JSON.stringify(reply)}\n`);
for (const name of ['log', 'info', 'debug', 'warn']) console[name] = console.error; // replies alone go to the output

// Processor time of all threads together, for the machine may not be free.
function processorSeconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

// A binary PPM as { width, height, data }, RGB.
function readPicture(path) {
  const raw = fs.readFileSync(path);
  const [, width, height] = raw.subarray(0, 40).toString('latin1').split(/\s+/);
  return { width: Number(width), height: Number(height), data: new Uint8Array(raw.subarray(-width * height * 3)) };
}

// Named scores in our order, those below a least one raised to it, so that they add up to 1.
function inOurOrder(named, least = 0) {
  const values = EMOTIONS.map((name) => Math.max(named[name] ?? 0, least));
  const total = values.reduce((sum, value) => sum + value, 0);
  return values.map((value) => value / total);
}

// Opens a peer and answers clips until the input ends. openPeer returns its name, and what takes a picture and whether
// that is a cut-out face and returns the probabilities of the largest face, or null.
async function serve(openPeer) {
  const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const begun = performance.now();
  let peer;
  try {
    peer = await openPeer(JSON.parse((await lines.next()).value));
  } catch (error) {
    say({ error: String(error).split('\n')[0] });
    process.exit(0);
  }
  say({ name: peer.name, load_s: (performance.now() - begun) / 1000 });
  for await (const line of lines) say(await attempt(peer, JSON.parse(line)));
  process.exit(0); // a peer's threads may keep the process
}

async function attempt(peer, request) {
  try {
    const pictures = request.frames.map(readPicture);
    const begun = processorSeconds();
    const frames = [];
    for (const picture of pictures) frames.push(await peer.look(picture, request.cut));
    return { frames, seconds: processorSeconds() - begun };
  } catch (error) {
    return { error: String(error).split('\n')[0] };
  }
}

const largestOf = (faces, area) => faces.reduce((best, face) => (best && area(best) >= area(face) ? best : face), null);

module.exports = { ROUNDED, inOurOrder, largestOf, serve };
