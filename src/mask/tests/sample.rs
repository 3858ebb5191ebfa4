//! Makes texts that a regular expression matches, so that no real secret has to stand in a test.

use regex_syntax::hir::{Class, Hir, HirKind};

/// A small generator of numbers (splitmix64): a test must be the same each time.
pub(super) struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n.max(1) as u64).unwrap()
    }

    /// So many characters of `letters`.
    pub fn text(&mut self, letters: &str, count: usize) -> String {
        let letters: Vec<char> = letters.chars().collect();
        (0..count).map(|_| letters[self.below(letters.len())]).collect()
    }
}

pub(super) const ALNUM: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// A text that `pattern` matches, but for its look-arounds.
pub(super) fn matching(hir: &Hir, dice: &mut Dice, out: &mut String) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.push_str(&String::from_utf8_lossy(&literal.0)),
        // A dot that was not escaped stands for itself.
        HirKind::Class(class) if any(class) => out.push('.'),
        HirKind::Class(class) => out.push(member(class, dice)),
        HirKind::Capture(capture) => matching(&capture.sub, dice, out),
        HirKind::Concat(parts) => parts.iter().for_each(|part| matching(part, dice, out)),
        HirKind::Alternation(parts) => matching(&parts[dice.below(parts.len())], dice, out),
        HirKind::Repetition(repetition) => {
            let least = repetition.min as usize;
            let most = repetition.max.map_or(least + 12, |max| max as usize).min(least + 12);
            // What may be left out mostly is.
            let count =
                if least == 0 && dice.below(4) > 0 { 0 } else { least + dice.below(most - least + 1) };
            let count = if least == 0 { count.min(3) } else { count };
            for _ in 0..count {
                match repetition.sub.kind() {
                    HirKind::Class(class) => out.push(member(class, dice)),
                    _ => matching(&repetition.sub, dice, out),
                }
            }
        }
    }
}

fn holds(class: &Class, c: char) -> bool {
    match class {
        Class::Unicode(class) => class.iter().any(|r| (r.start()..=r.end()).contains(&c)),
        Class::Bytes(class) => class.iter().any(|r| (r.start()..=r.end()).contains(&(c as u8))),
    }
}

fn any(class: &Class) -> bool {
    (' '..='~').all(|c| holds(class, c))
}

fn member(class: &Class, dice: &mut Dice) -> char {
    let holds = |c: char| holds(class, c);
    // A negated set: what ends a token in real text.
    if holds(' ') && !holds('a') {
        return ' ';
    }
    let usual: Vec<char> = (' '..='~').filter(|c| holds(*c)).collect();
    let letters: Vec<char> = usual.iter().copied().filter(char::is_ascii_alphanumeric).collect();
    let from = if letters.len() > 8 && dice.below(12) > 0 { letters } else { usual };
    if from.is_empty() { '\n' } else { from[dice.below(from.len())] }
}
