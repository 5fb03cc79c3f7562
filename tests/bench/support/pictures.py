# SPDX-License-Identifier: Apache-2.0
"""Pictures of ordinary photographs' size, out of real ones where there are some."""
import numpy as np
from PIL import Image


def cloud(rng, height, width):
    """Coloured noise whose spectrum falls like that of natural pictures."""
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    power = 1 / np.maximum(np.hypot(fy, fx), 1 / max(height, width)) ** 1.2
    planes = []
    for _ in range(3):
        phase = rng.standard_normal((2, *power.shape))
        planes.append(np.fft.irfft2((phase[0] + 1j * phase[1]) * power, s=(height, width)))
    a = np.stack(planes, -1) @ np.array([[1, 1, 1], [.3, 0, -.3], [.1, -.2, .1]])
    return Image.fromarray(np.clip((a - a.mean()) / a.std() * 55 + 120, 0, 255).astype(np.uint8))


def sources(folder):
    """Pictures of at least 500 x 375, strips of panels cut into their panels."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".png", ".jpg")) if folder else []:
        try:
            picture = Image.open(path).convert("RGB")
        except OSError:
            continue
        w, h = picture.size
        step = h if w % h == 0 and w > h else w
        panels = [picture.crop((x, 0, x + step, h)) for x in range(0, w, step)]
        found += [p for p in panels if p.width >= 500 and p.height >= 375 and np.asarray(p).std() > 20]
    return found


def make_jpegs(out, count, folder):
    """`count` JPEGs of 375-500 pixels, quality 90, 4:2:0; says what they are."""
    rng = np.random.default_rng(1)
    real = sources(folder)
    out.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        w, h = (500, 375) if i % 4 else (375, 500)
        if real:
            p = real[i % len(real)]
            part = min(rng.uniform(0.7, 1.0), p.width / w, p.height / h)
            cw, ch = int(min(p.width, w * max(part, 1))), int(min(p.height, h * max(part, 1)))
            x, y = rng.integers(0, p.width - cw + 1), rng.integers(0, p.height - ch + 1)
            p = p.crop((x, y, x + cw, y + ch)).resize((w, h), Image.LANCZOS)
        else:
            p = cloud(rng, h, w)
        p.save(out / f"{i:05d}.jpg", quality=90, subsampling="4:2:0")
    size = sum(f.stat().st_size for f in out.iterdir()) / count
    return f"{count} JPEGs of 500x375 from {'%d real pictures' % len(real) if real else 'coloured noise'}, " \
           f"q90 4:2:0, {size / 1000:.0f} kB each"
