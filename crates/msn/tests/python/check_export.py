"""Opens what `msn export` wrote with the libraries that it is for, and compares their outputs with others.

    check_export.py golden FORM EXPORTED expected.safetensors
    check_export.py run FORM EXPORTED IMAGES after-norm.npy before-norm.npy [predicted.csv]

`golden` compares with outputs that PyTorch computed from the original weights; `run` with those of `msn embed`, of all
images in the folder IMAGES, and of `msn predict`. FORM is hf, timm or onnx. Ends with 0 if all outputs agree within
1e-4, with 77 and a message if a library is missing, and fails otherwise.
"""

import csv
import importlib.util
import json
import sys
from pathlib import Path

TOLERANCE = 1e-4
NEEDED = {
    "hf": ["numpy", "safetensors", "PIL", "torch", "transformers"],
    "timm": ["numpy", "safetensors", "PIL", "torch", "timm"],
    "onnx": ["numpy", "safetensors", "PIL", "onnxruntime"],
}


def outputs_of_hf(exported, pixels):
    import torch
    import transformers

    classifies = "id2label" in json.loads((exported / "config.json").read_text())
    name = "ViTMSNForImageClassification" if classifies else "ViTMSNModel"
    model, info = getattr(transformers, name).from_pretrained(str(exported), output_loading_info=True)
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[what], f"{what}: {info[what]}"
    model.eval()
    with torch.no_grad():
        base = model.vit if classifies else model
        found = {"cls": base(torch.tensor(pixels)).last_hidden_state[:, 0].numpy()}
        if classifies:
            found["logits"] = model(torch.tensor(pixels)).logits.numpy()
    labels = [model.config.id2label[i] for i in range(model.config.num_labels)] if classifies else None
    return found, labels


def outputs_of_timm(exported, pixels):
    import torch
    from safetensors import safe_open
    from timm.models.vision_transformer import VisionTransformer

    with safe_open(str(exported), "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}
        about = file.metadata()
    patch = weights["patch_embed.proj.weight"].shape[-1]
    labels = json.loads(about["classes"]) if "classes" in about else None
    model = VisionTransformer(
        img_size=pixels.shape[-1],
        patch_size=patch,
        embed_dim=weights["cls_token"].shape[-1],
        depth=1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks.")),
        num_heads=json.loads(about["msn"])["heads"],
        num_classes=len(labels) if labels else 0,
    )
    model.load_state_dict(weights)
    model.eval()
    with torch.no_grad():
        found = {"cls": model.forward_features(torch.tensor(pixels))[:, 0].numpy()}
        if labels:
            found["logits"] = model(torch.tensor(pixels)).numpy()
    return found, labels


def outputs_of_onnx(exported, pixels):
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(None, {"pixel_values": pixels})))
    found["cls"] = found["last_hidden_state"][:, 0]
    # One image alone: the batch is dynamic.
    alone = session.run(["features"], {"pixel_values": pixels[:1]})[0]
    compare("the features of one image alone", alone, found["features"][:1])
    assert not np.isnan(found["features"]).any()
    labels = session.get_modelmeta().custom_metadata_map.get("classes")
    return found, json.loads(labels) if labels else None


def compare(what, found, expected):
    import numpy as np

    assert found.shape == expected.shape, f"{what}: expected shape {expected.shape}, found {found.shape}"
    difference = float(np.abs(found - expected).max())
    print(f"{what}: largest difference {difference:.2e}")
    assert difference <= TOLERANCE, f"{what}: expected outputs within {TOLERANCE}, found a difference of {difference}"


def pixels_of(form, exported, paths):
    """[B, 3, size, size], as the exported description of the preprocessing says: for hf through transformers itself."""
    import numpy as np
    from PIL import Image

    images = [Image.open(path).convert("RGB") for path in paths]
    if form == "hf":
        from transformers import AutoImageProcessor

        return AutoImageProcessor.from_pretrained(str(exported))(images, return_tensors="np")["pixel_values"]
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    pixels = [((np.asarray(image) / 255.0 - mean) / std).transpose(2, 0, 1) for image in images]
    return np.stack(pixels).astype(np.float32)


def softmax(logits):
    import numpy as np

    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def check_golden(outputs, exported, reference):
    from safetensors.numpy import load_file

    expected = load_file(reference)
    found, _ = outputs(exported, expected["pixel_values"])
    compare("cls", found["cls"], expected["cls"])


def check_run(form, outputs, exported, images, after_norm, before_norm, predicted=None):
    import numpy as np

    names = Path(after_norm).with_suffix(".txt").read_text().split()
    pixels = pixels_of(form, exported, [Path(images) / name for name in names])
    found, labels = outputs(exported, pixels)
    compare("cls", found["cls"], np.load(after_norm))
    if "features" in found:
        compare("features", found["features"], np.load(before_norm))
    if predicted is None:
        return
    with open(predicted) as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert sorted(rows) == sorted(names), "a prediction for each image"
    for name, probabilities in zip(names, softmax(found["logits"].astype(np.float64))):
        best = int(probabilities.argmax())
        expected = float(rows[name]["probability"])
        # Written with four decimals.
        assert labels[best] == rows[name]["label"], f"{name}: {labels[best]} for {rows[name]}"
        assert abs(probabilities[best] - expected) <= TOLERANCE + 5e-5, f"{name}: {probabilities[best]} for {rows[name]}"
    print(f"labels and probabilities of {len(names)} images agree")


def main():
    kind, form, exported, *rest = sys.argv[1:]
    missing = [name for name in NEEDED[form] if importlib.util.find_spec(name) is None]
    if missing:
        print(f"no {', '.join(missing)}")
        sys.exit(77)
    outputs = {"hf": outputs_of_hf, "timm": outputs_of_timm, "onnx": outputs_of_onnx}[form]
    if kind == "golden":
        check_golden(outputs, Path(exported), *rest)
    else:
        check_run(form, outputs, Path(exported), *rest)


if __name__ == "__main__":
    main()
