//! The pkt-line framing of the git protocol, as far as a push needs it.
//!
//! Facts: gitprotocol-common(5) and gitprotocol-pack(5): a line is four hexadecimal digits that
//! count themselves, then data; `0000` is a flush; commands come before the pack.

use crate::simulator::azure_devops::state::RefUpdate;

/// Commands one push may hold.
const COMMANDS: usize = 10_000;
/// Data of one side-band packet.
const BAND_BYTES: usize = 60_000;

/// The commands in front of a pack.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Commands {
    /// Moves asked for.
    pub updates: Vec<RefUpdate>,
    /// Whether the answer is to be framed in side-bands.
    pub side_band: bool,
    /// Whether a report is wanted.
    pub report_status: bool,
    /// Whether all moves are to be done or none.
    pub atomic: bool,
}

/// One line and what follows it; `None` data for a flush.
fn line(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let length = std::str::from_utf8(bytes.get(..4)?).ok()?;
    let length = usize::from_str_radix(length, 16).ok()?;
    match length {
        0 => Some((None, &bytes[4..])),
        1..4 => None,
        _ => Some((Some(bytes.get(4..length)?), &bytes[length..])),
    }
}

/// Reads the command list of a receive-pack request.
///
/// # Errors
/// A text when the framing or a command is broken.
pub fn commands(body: &[u8]) -> Result<Commands, String> {
    let mut found = Commands::default();
    let mut rest = body;
    loop {
        let (data, after) = line(rest).ok_or("The request is not made of git packet lines.")?;
        let Some(data) = data else { return Ok(found) };
        rest = after;
        let (command, capabilities) = match data.iter().position(|b| *b == 0) {
            Some(at) => (&data[..at], &data[at + 1..]),
            None => (data, &[][..]),
        };
        let words = String::from_utf8_lossy(capabilities);
        for word in words.split_whitespace() {
            found.side_band |= word == "side-band-64k" || word == "side-band";
            found.report_status |= word.starts_with("report-status");
            found.atomic |= word == "atomic";
        }
        let text = std::str::from_utf8(command).map_err(|_| "A reference name is not UTF-8.")?.trim_end();
        if text.starts_with("shallow ") || text.starts_with("push-cert") {
            continue;
        }
        let mut parts = text.splitn(3, ' ');
        let (Some(old), Some(new), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("A command needs an old id, a new id and a name.".into());
        };
        let id = |text: &str| text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if !id(old) || !id(new) || found.updates.len() >= COMMANDS {
            return Err("A command has a broken object id, or there are too many commands.".into());
        }
        let (old, new) = (old.to_ascii_lowercase(), new.to_ascii_lowercase());
        found.updates.push(RefUpdate { name: name.to_owned(), old, new });
    }
}

/// Frames data as one line.
pub fn frame(data: &[u8]) -> Vec<u8> {
    let mut framed = format!("{:04x}", data.len() + 4).into_bytes();
    framed.extend(data);
    framed
}

/// The request without the commands for some references; capabilities and pack stay.
pub fn without(body: &[u8], refused: &[(String, String)]) -> Vec<u8> {
    let (mut kept, mut rest, mut capabilities) = (Vec::new(), body, None);
    while let Some((Some(data), after)) = line(rest) {
        rest = after;
        let cut = data.iter().position(|b| *b == 0);
        if let Some(at) = cut {
            capabilities = Some(&data[at..]);
        }
        let command = &data[..cut.unwrap_or(data.len())];
        let text = String::from_utf8_lossy(command);
        if refused.iter().any(|(name, _)| text.trim_end().splitn(3, ' ').nth(2) == Some(name)) {
            continue;
        }
        let mut command = command.to_vec();
        command.extend(capabilities.take().unwrap_or_default());
        kept.extend(frame(&command));
    }
    kept.extend(rest);
    kept
}

/// The answer to a push with `ng` for some more references at the end of its report.
pub fn with_refused(commands: &Commands, answer: &[u8], refused: &[(String, String)]) -> Option<Vec<u8>> {
    let (mut report, mut progress, mut rest) = (Vec::new(), Vec::new(), answer);
    if !commands.report_status {
        return None;
    }
    if commands.side_band {
        while let Some((Some(data), after)) = line(rest) {
            match data.split_first()? {
                (1, data) => report.extend(data),
                _ => progress.extend(frame(data)),
            }
            rest = after;
        }
    } else {
        report.extend(answer);
    }
    let mut report = report.strip_suffix(b"0000")?.to_vec();
    report.extend(lines_of(refused));
    progress.extend(banded(commands, report));
    Some(progress)
}

fn lines_of(refused: &[(String, String)]) -> Vec<u8> {
    let one = |(name, reason): &(String, String)| {
        frame(format!("ng {name} {}\n", reason.replace(['\n', '\r'], " ")).as_bytes())
    };
    refused.iter().flat_map(one).collect()
}

/// A report with its end, in side-bands when those were asked for.
fn banded(commands: &Commands, mut report: Vec<u8>) -> Vec<u8> {
    report.extend(b"0000");
    if !commands.side_band {
        return report;
    }
    let mut answer = Vec::new();
    for chunk in report.chunks(BAND_BYTES) {
        let mut band = vec![1u8];
        band.extend(chunk);
        answer.extend(frame(&band));
    }
    answer.extend(b"0000");
    answer
}

/// The report of a push of which nothing was done: `ng` with a reason for every reference.
pub fn refused(commands: &Commands, reasons: &[(String, String)]) -> Vec<u8> {
    let mut report = frame(b"unpack ok\n");
    report.extend(lines_of(reasons));
    if !commands.report_status {
        return b"0000".to_vec();
    }
    banded(commands, report)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn commands_and_capabilities_are_read_and_the_pack_is_left_alone() {
        let mut body =
            frame(format!("{A} {B} refs/heads/main\0report-status side-band-64k agent=git/2\n").as_bytes());
        body.extend(frame(format!("{A} {B} refs/heads/a b\n").as_bytes()));
        body.extend(b"0000PACK....");
        let found = commands(&body).unwrap();
        assert_eq!(found.updates.len(), 2);
        assert_eq!(found.updates[1].name, "refs/heads/a b");
        assert!(found.side_band && found.report_status);
        assert_eq!(commands(b"0000").unwrap(), Commands::default());
    }

    #[test]
    fn broken_framing_is_refused_and_never_panics() {
        for bad in [&b""[..], b"000", b"zzzz", b"0003", b"00ff short", b"0009hello0000", b"\xff\xff\xff\xff"]
        {
            assert!(commands(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn one_refused_command_leaves_the_others_and_joins_the_report() {
        let mut body = frame(format!("{A} {B} refs/heads/main\0report-status side-band-64k\n").as_bytes());
        body.extend(frame(format!("{A} {B} refs/heads/free\n").as_bytes()));
        body.extend(b"0000PACK....");
        let refused = [("refs/heads/main".to_owned(), "TF402455: no".to_owned())];
        let kept = without(&body, &refused);
        let commands = commands(&kept).unwrap();
        assert_eq!(commands.updates.iter().map(|u| u.name.as_str()).collect::<Vec<_>>(), ["refs/heads/free"]);
        assert!(commands.side_band && kept.ends_with(b"0000PACK...."));
        let mut report = frame(b"unpack ok\n");
        report.extend(frame(b"ok refs/heads/free\n"));
        let answer = with_refused(&commands, &banded(&commands, report), &refused).unwrap();
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (ok, ng) = (text.find("ok refs/heads/free").unwrap(), text.find("ng refs/heads/main").unwrap());
        assert!(ok < ng && text.ends_with("00000000"), "{text}");
    }

    #[test]
    fn a_refusal_names_every_reference() {
        let commands = Commands { side_band: true, report_status: true, ..Commands::default() };
        let answer = refused(&commands, &[("refs/heads/main".into(), "TF402455: no\nreally".into())]);
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(text.contains("ng refs/heads/main TF402455: no really") && text.ends_with("0000"));
    }
}
