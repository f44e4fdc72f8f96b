"""How well a bundle's face network meets FER2013's labels and FER+'s majority, from the file that ships.

    python benchmarks/face_labels.py FERPLUS [--model default]

FERPLUS is the folder that `moodreel pretrain faces` learns from; figures are of its cleaned valid part. The class
prior is added in three shares: none (best for UAR), a quarter (what the bundle adds), and all (best for accuracy).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from moodreel.bundle import load_bundle
from moodreel.training.face.ferplus import FACE_SIDE, clean_faces, majority_labels, read_ferplus, split_holdout
from moodreel.training.face.loss import FaceTargets, Priors
from moodreel.training.face.network import CROP_SIDE
from moodreel.training.face.recipe import FaceRecipe
from moodreel.training.face.scores import score_labels
from moodreel.training.greys import LUMA

OUTPUTS = ["logits", "fer2013", "ferplus"]
PRIOR_SHARES = (0.0, 0.25, 1.0)
FACES_AT_ONCE = 64


def answer(model: str, images: np.ndarray) -> dict[str, np.ndarray]:
    """Run the network over FER2013 faces, uint8 (n, 48, 48), each pixel doubled as the network's input wants it."""
    session = load_bundle(model).session("face", threads=2)
    enlarged = images.repeat(CROP_SIDE // FACE_SIDE, axis=1).repeat(CROP_SIDE // FACE_SIDE, axis=2)
    parts = []
    for start in range(0, len(images), FACES_AT_ONCE):
        faces = np.repeat(enlarged[start : start + FACES_AT_ONCE, None].astype(np.float32), len(LUMA), axis=1)
        parts.append(session.run(OUTPUTS, {"faces": faces}))
    return dict(zip(OUTPUTS, map(np.concatenate, zip(*parts, strict=True)), strict=True))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="default")
    arguments = parser.parse_args()
    train, valid = clean_faces(read_ferplus(arguments.data / "train.npz"), read_ferplus(arguments.data / "valid.npz"))
    recipe = FaceRecipe()
    fitted, _ = split_holdout(train, recipe.holdout, recipe.seed)
    priors = Priors.of(FaceTargets.of(fitted))
    answers = answer(arguments.model, valid.images)
    rows = (
        ("FER2013", "logits", valid.fer2013, priors.fer2013),
        ("FER2013", "fer2013", valid.fer2013, priors.fer2013),
        ("FER+ majority", "logits", majority_labels(valid.votes), priors.ferplus),
        ("FER+ majority", "ferplus", majority_labels(valid.votes), priors.ferplus),
    )
    print("| labels | output | prior | faces | accuracy | UAR |\n|---|---|---|---|---|---|")
    for labels, output, wanted, prior in rows:
        for share in PRIOR_SHARES:
            found = score_labels(answers[output] + share * prior.numpy(), wanted)
            print(f"| {labels} | {output} | {share:g} | {found.n} | {found.accuracy:.4f} | {found.uar:.4f} |")


if __name__ == "__main__":
    main()
