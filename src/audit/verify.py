#!/usr/bin/env python3
"""Checks an exported record without any part of the program that made it (see VERIFY.md).

    python3 verify.py [FOLDER] [--pubkey BASE64] [--head HASH]

Python 3.8 or newer, standard library only. Exit status: 0 sound, 1 changed, 2 unreadable.
"""
import base64, hashlib, hmac, json, pathlib, sys

# Ed25519 (RFC 8032): the field, the order of the base point, the curve. Points are (X, Y, Z, T).
P, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D, ROOT = -121665 * pow(121666, P - 2, P) % P, pow(2, (P - 1) // 4, P)

def add(a, b):
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    return ((f - e) * (h - g) % P, (h + g) * (f + e) % P, (h - g) * (h + g) % P, (f - e) * (f + e) % P)

def times(k, a):
    out = (0, 1, 1, 0)
    while k:
        out, a, k = add(out, a) if k & 1 else out, add(a, a), k >> 1
    return out

def point(raw):
    """A point from its 32 bytes, or None (RFC 8032, 5.1.3)."""
    number = int.from_bytes(raw, "little")
    y, sign = number % 2**255, number >> 255
    xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(xx, (P + 3) // 8, P)
    x = x if (x * x - xx) % P == 0 else x * ROOT % P
    if y >= P or (x * x - xx) % P or (x == 0 and sign):
        return None
    x = P - x if x % 2 != sign else x
    return (x, y, 1, x * y % P)

BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))

def signed(key, message, signature):
    """Whether `signature` of `message` is by `key` (RFC 8032, 5.1.7)."""
    if len(key) != 32 or len(signature) != 64:
        return False
    a, r, s = point(key), point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= ORDER:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    left, right = times(s, BASE), add(r, times(k, a))
    return all((left[i] * right[2] - right[i] * left[2]) % P == 0 for i in (0, 1))

def link(domain, prev, *parts):
    """A link of a chain: SHA-256 over these, each on a line of its own."""
    return "sha256:" + hashlib.sha256("\n".join([domain, prev, *map(str, parts)]).encode()).hexdigest()

def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]

def entries(folder, run, faults):
    """Goes along the chain to its first fault; the hashes on the way, and how many lines there are."""
    raw, prev, hashes = (folder / "events.jsonl").read_bytes().split(b"\n"), "", {}
    count = len(raw) - (raw[-1] == b"")
    for seq, line in enumerate(raw[:count], 1):
        try:
            event = json.loads(line)
            whole = json.dumps(event, separators=(",", ":")).encode() == line and seq < len(raw)
            own = link("ado-coworker log v2", event["prev"], run, event["seq"], event["ts_us"], event["commitment"])
            body, salt, name = event["body"], event["salt"], f"bodies/{seq:06d}.json"
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole or len(event) != 7:
            faults.append((seq, "edited", f"entry {seq} is not as it was written"))
        elif event["seq"] != seq:
            later = any(b'{"seq":%d,' % seq in other for other in raw[seq:])
            kind = ("edited" if own != event["hash"] else "inserted" if event["seq"] < seq
                    else "reordered" if later else "removed")
            faults.append((seq, kind, f"entry {event['seq']} stands where entry {seq} belongs"))
        elif own != event["hash"] or event["prev"] != prev:
            faults.append((seq, "edited", f"entry {seq} does not continue the chain"))
        elif body not in (None, name) or (body is None) != (salt is None):
            faults.append((seq, "edited", f"entry {seq} has another body"))
        elif body and not (folder / name).is_file():
            faults.append((seq, "removed", f"the body of entry {seq} is missing"))
        elif body and event["commitment"] != "hmac-sha256:" + hmac.new(
                bytes.fromhex(salt), (folder / name).read_bytes(), hashlib.sha256).hexdigest():
            faults.append((seq, "edited", f"the body of entry {seq} was changed"))
        else:
            prev = hashes[seq] = event["hash"]
            continue
        break
    return hashes, count

def check(folder, pubkey=None, head=None):
    """The faults as (entry or None, kind, words), entries, how far it is signed, whether it is anchored."""
    manifest, faults = json.loads((folder / "manifest.json").read_text("utf-8")), []
    run, last = manifest["run"], manifest["last_seq"]
    hashes, count = entries(folder, run, faults)
    if not faults and count != last:
        kind = "truncated" if count < last else "inserted"
        faults.append((min(count, last) + 1, kind, f"there are {count} entries; there were {last}"))
    elif not faults and hashes.get(last, "") != manifest["head"]:
        faults.append((last, "edited", f"entry {last} is not the one at which the record ended"))
    keys = {key["id"]: key["public_key"] for key in json.loads((folder / "keys.json").read_text("utf-8"))}
    covered, sound = 0, not faults
    for mark in lines(folder / "checkpoints.jsonl"):
        seq, own, key = mark["seq"], mark["chain"] == run, keys.get(mark["key"], "")
        text = "\n".join(["ado-coworker checkpoint v1", mark["chain"], str(seq), mark["hash"], str(mark["ts_us"])])
        good = signed(base64.b64decode(key), text.encode(), base64.b64decode(mark["signature"]))
        if not good or (pubkey and key != pubkey):
            faults.append((seq if own else None, "edited", f"the signature at {seq} is not by the right key"))
        elif own and hashes.get(seq) == mark["hash"]:
            covered = max(covered, seq)
        elif own and sound:
            kind = "truncated" if seq > count else "edited"
            faults.append((min(seq, count + 1), kind, f"entry {seq} is not the one that was signed"))
    before, anchored = None, False
    for end in lines(folder / "heads.jsonl"):
        want = link("ado-coworker heads v1", end["prev"], end["n"], end["run"], end["seq"], end["head"])
        if end["hash"] != want or (before and (end["prev"], end["n"]) != (before["hash"], before["n"] + 1)):
            faults.append((None, "edited", f"end {end['n']} does not continue the chain over the ends of runs"))
            break
        if not faults and end["run"] == run and hashes.get(end["seq"]) != end["head"]:
            kind = "truncated" if end["seq"] > count else "edited"
            faults.append((min(end["seq"], count + 1), kind, f"the run once ended at another entry {end['seq']}"))
        before, anchored = end, anchored or end["hash"] == head
    if head and not anchored:
        faults.append((None, "truncated", "the head given is not in the chain over the ends of runs"))
    for name, digest in manifest["files"].items():
        path = folder / name
        if not path.is_file() or "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            faults.append((None, "edited", f"{name} is not what the manifest says"))
    return sorted(faults, key=lambda fault: (fault[0] is None, fault[0])), count, covered, anchored

def main(arguments):
    options, folder = {"--pubkey": None, "--head": None}, pathlib.Path(__file__).resolve().parent
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
    for seq, kind, what in faults:
        print(f"{kind} at entry {seq}: {what}" if seq else f"{kind}: {what}")
    if not faults:
        print(f"sound: {count} entries, signed up to entry {covered}" + (", anchored" if anchored else ""))
        if covered < count:
            print(f"warning: the entries after {covered} are not signed")
    return 1 if faults else 0

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
