//! A found secret: where, what, and how sure.

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// A value with a secret-sounding name that reads like a secret.
    Guess,
    /// The format of one issuer, or a place where only a secret stands.
    Format,
    /// A value that this process knows to be secret.
    Known,
}

/// Bytes `start..end` of a text that hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub start: usize,
    pub end: usize,
    pub class: &'static str,
    pub certainty: Certainty,
}

/// Sorts and joins spans that overlap; the surer, then the longer one gives the class.
pub(super) fn union(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
    let mut joined: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans.into_iter().filter(|span| span.start < span.end) {
        match joined.last_mut() {
            Some(last) if span.start < last.end => {
                let rank = |span: &Span| (span.certainty, span.end - span.start);
                if rank(&span) > rank(last) {
                    last.class = span.class;
                }
                last.certainty = last.certainty.max(span.certainty);
                last.end = last.end.max(span.end);
            }
            _ => joined.push(span),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_become_one_span_of_the_surest_class() {
        let span = |start, end, class, certainty| Span { start, end, class, certainty };
        let joined = union(vec![
            span(10, 20, "b", Certainty::Format),
            span(0, 12, "a", Certainty::Guess),
            span(20, 25, "c", Certainty::Guess),
        ]);
        assert_eq!(joined, [span(0, 20, "b", Certainty::Format), span(20, 25, "c", Certainty::Guess)]);
    }
}
