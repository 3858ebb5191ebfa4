#!/usr/bin/env python3
"""Checks an exported record without any part of the program that made it.

    python3 verify.py [FOLDER] [--pubkey BASE64] [--head HASH]

FOLDER is the unpacked bundle (this file's own folder when not given). Python 3.8 or newer,
standard library only. Exit status: 0 sound, 1 changed, 2 unreadable.
"""
import base64, hashlib, hmac, json, pathlib, sys

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def recover_x(y, sign):
    """The x of a point of the curve, or None (RFC 8032, 5.1.3)."""
    xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if (x * x - xx) % P:
        x = x * ROOT % P
    if (x * x - xx) % P or (x == 0 and sign):
        return None
    return P - x if x % 2 != sign else x


def add(a, b):
    """Adds two points given as (X, Y, Z, T)."""
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    return ((f - e) * (h - g) % P, (h + g) * (f + e) % P, (h - g) * (h + g) % P, (f - e) * (f + e) % P)


def times(k, point):
    out = (0, 1, 1, 0)
    while k:
        if k & 1:
            out = add(out, point)
        point, k = add(point, point), k >> 1
    return out


def point(raw):
    """A point from its 32 bytes, or None."""
    number = int.from_bytes(raw, "little")
    y, sign = number % 2**255, number >> 255
    x = recover_x(y, sign) if y < P else None
    return None if x is None else (x, y, 1, x * y % P)


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE = (recover_x(BASE_Y, 0), BASE_Y, 1, recover_x(BASE_Y, 0) * BASE_Y % P)


def signed(key, message, signature):
    """Whether Ed25519 `signature` of `message` is by `key` (RFC 8032, 5.1.7)."""
    if len(key) != 32 or len(signature) != 64:
        return False
    a, r, s = point(key), point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= ORDER:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    left, right = times(s, BASE), add(r, times(k, a))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


def link(domain, prev, text):
    return "sha256:" + hashlib.sha256(f"{domain}\n{prev}\n{text}".encode()).hexdigest()


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def check(folder, pubkey=None, head=None):
    """A list of faults, and what could be said about signature and anchor."""
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    run, faults = manifest["run"], []
    for name, digest in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            faults.append((0, f"{name} is missing"))
        elif "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            faults.append((0, f"{name} is not what the manifest says"))
    prev, count, hashes = "", 0, {}
    for event in lines(folder / "events.jsonl"):
        count += 1
        seq = event["seq"]
        if seq != count:
            faults.append((count, f"entry {count} is missing, doubled or out of order (found {seq})"))
            break
        want = link("ado-coworker log v2", prev, f"{run}\n{seq}\n{event['ts_us']}\n{event['commitment']}")
        if event["prev"] != prev or event["hash"] != want:
            faults.append((seq, f"entry {seq} does not continue the chain"))
            break
        if event.get("body") is not None:
            body, salt = (folder / event["body"]).read_bytes(), bytes.fromhex(event["salt"])
            if "hmac-sha256:" + hmac.new(salt, body, hashlib.sha256).hexdigest() != event["commitment"]:
                faults.append((seq, f"the body of entry {seq} was changed"))
                break
        prev = hashes[seq] = event["hash"]
    if not faults and (count != manifest["last_seq"] or prev != manifest["head"]):
        faults.append((count + 1, f"the record ends after entry {count}; it had {manifest['last_seq']}"))
    keys = {key["id"]: key["public_key"] for key in json.loads((folder / "keys.json").read_text("utf-8"))}
    covered, trusted = 0, set()
    for point_ in lines(folder / "checkpoints.jsonl"):
        seq, key = point_["seq"], keys.get(point_["key"], "")
        text = f"ado-coworker checkpoint v1\n{point_['chain']}\n{seq}\n{point_['hash']}\n{point_['ts_us']}"
        if not signed(base64.b64decode(key), text.encode(), base64.b64decode(point_["signature"])):
            faults.append((seq, f"the signature at entry {seq} is not by key {point_['key']}"))
        elif point_["chain"] == run and hashes.get(seq) != point_["hash"]:
            faults.append((seq, f"entry {seq} is not the one that was signed"))
        elif point_["chain"] == run:
            covered = max(covered, seq)
            trusted.add(key)
    if pubkey and trusted - {pubkey}:
        faults.append((0, "it is signed by another key than the one given"))
    last, anchored = None, False
    for end in lines(folder / "heads.jsonl"):
        want = link("ado-coworker heads v1", end["prev"], f"{end['n']}\n{end['run']}\n{end['seq']}\n{end['head']}")
        if end["hash"] != want or (last and (end["prev"] != last["hash"] or end["n"] != last["n"] + 1)):
            faults.append((0, f"end {end['n']} does not continue the chain of ends"))
            break
        if end["run"] == run and hashes.get(end["seq"]) != end["head"]:
            faults.append((end["seq"], f"entry {end['seq']} is not the one at which the run ended"))
        anchored = anchored or end["hash"] == head
        last = end
    if head and not anchored:
        faults.append((0, "the head given is not in the chain of ends"))
    return sorted(faults, key=lambda fault: fault[0]), count, covered, anchored


def main(arguments):
    options = {"--pubkey": None, "--head": None}
    folder = pathlib.Path(__file__).resolve().parent
    while arguments:
        word = arguments.pop(0)
        if word in options and arguments:
            options[word] = arguments.pop(0)
        elif word.startswith("-"):
            print(__doc__)
            return 2
        else:
            folder = pathlib.Path(word)
    try:
        faults, count, covered, anchored = check(folder, options["--pubkey"], options["--head"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"unreadable: {error!r}")
        return 2
    for _, what in faults:
        print(f"CHANGED: {what}")
    if not faults:
        print(f"sound: {count} entries, signed up to entry {covered}" + (", anchored" if anchored else ""))
        if covered < count:
            print(f"warning: entries after {covered} are not signed")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
