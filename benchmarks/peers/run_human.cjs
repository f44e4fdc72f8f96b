// Runs @vladmandic/human in WebAssembly: BlazeFace, mesh, emotion; all else of it is switched off.
const fs = require('fs');
const path = require('path');
const { fileURLToPath } = require('url');
const { ROUNDED, inOurOrder, largestOf, serve } = require('./protocol.cjs');

const OFF = { enabled: false };

// In WebAssembly human fetches its networks, and fetch refuses file: addresses.
globalThis.fetch = async (url) => new Response(fs.readFileSync(fileURLToPath(String(url.url ?? url))));

serve(async () => {
  const home = path.resolve(require.resolve('@vladmandic/human'), '../..'); // its package.json is not to be resolved
  const { Human } = require(path.join(home, 'dist/human.node-wasm.js'));
  const human = new Human({
    backend: 'wasm',
    wasmPath: `${path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm/package.json'))}/dist/`,
    modelBasePath: `file://${path.join(home, 'models')}/`,
    cacheSensitivity: 0, // each picture is looked at anew
    filter: OFF,
    face: { enabled: true, emotion: { enabled: true, minConfidence: 0 }, iris: OFF, description: OFF, antispoof: OFF, liveness: OFF },
    body: OFF, hand: OFF, object: OFF, gesture: OFF, segmentation: OFF,
  });
  await human.load();

  async function look(picture, cut) {
    if (cut) throw new Error('human takes no face that is cut out already');
    const pixels = human.tf.tensor(picture.data, [1, picture.height, picture.width, 3], 'float32');
    const found = await human.detect(pixels);
    human.tf.dispose(pixels);
    if (found.error) throw new Error(found.error);
    const largest = largestOf(found.face.filter((face) => face.emotion?.length), (face) => face.box[2] * face.box[3]);
    return largest && inOurOrder(Object.fromEntries(largest.emotion.map((one) => [one.emotion, one.score])), ROUNDED);
  }
  return { name: `human ${human.version}, ${human.tf.getBackend()}`, look };
});
