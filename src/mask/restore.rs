//! The one place where a placeholder turns back into its secret: a file is written back to where
//! it was read, and the line with the placeholder has not been touched.

use super::session::{Origin, Session};

/// Why a text with placeholders cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A placeholder that this session never gave out.
    #[error("placeholder_forged: {0} was never given out in this run; remove it")]
    Forged(String),
    /// A placeholder on a line that is not a line of the file as it was read.
    #[error("placeholder_not_allowed_here: {0} may only stay on a line that you leave as you read it")]
    NotAllowedHere(String),
}

impl Session {
    /// The bytes to write for `edited`, a masked text with changes, back to the file `target`
    /// whose present content is `original`.
    ///
    /// Each line with a placeholder must be, unchanged, a line of the masked `original`; it is
    /// written as it stood there. A text without placeholders comes back as it is.
    ///
    /// # Errors
    /// When a placeholder is forged, comes from another place, or stands on a changed line.
    pub fn restore_file(
        &self,
        target: &Origin,
        original: &str,
        edited: &str,
    ) -> Result<String, RestoreError> {
        let placeholders = self.placeholders(edited);
        if placeholders.is_empty() {
            return Ok(edited.to_owned());
        }
        for one in &placeholders {
            let written = edited.get(one.start..one.end).unwrap_or_default().to_owned();
            if !one.issued {
                return Err(RestoreError::Forged(written));
            }
            if !self.origins(&one.id).iter().any(|origin| origin.same_file(target)) {
                return Err(RestoreError::NotAllowedHere(written));
            }
        }
        let lines = self.masked_lines(original, target);
        let mut out = String::with_capacity(edited.len().max(original.len()));
        for line in edited.split_inclusive('\n') {
            let Some(one) = placeholders_of(self, line) else {
                out.push_str(line);
                continue;
            };
            let body = line.trim_end_matches(['\n', '\r']);
            let Some((_, raw)) = lines.iter().find(|(masked, _)| masked == body) else {
                return Err(RestoreError::NotAllowedHere(one));
            };
            out.push_str(raw);
            out.push_str(line.get(body.len()..).unwrap_or_default());
        }
        Ok(out)
    }

    /// The masked lines of `original` that hold a secret, each with the bytes it stands for.
    fn masked_lines(&self, original: &str, target: &Origin) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        let (mut masked, mut raw) = (String::new(), String::new());
        for piece in self.pieces(original, target) {
            match piece {
                Piece::Plain(text) => {
                    for line in text.split_inclusive('\n') {
                        masked.push_str(line);
                        raw.push_str(line);
                        if line.ends_with('\n') {
                            lines.push((std::mem::take(&mut masked), std::mem::take(&mut raw)));
                        }
                    }
                }
                Piece::Secret { placeholder, value } => {
                    masked.push_str(&placeholder);
                    raw.push_str(value);
                }
            }
        }
        lines.push((masked, raw));
        let bare = |text: String| text.trim_end_matches(['\n', '\r']).to_owned();
        let pairs = lines.into_iter().map(|(masked, raw)| (bare(masked), bare(raw)));
        pairs.filter(|(masked, raw)| masked != raw).collect()
    }
}

/// A stretch of a text that is masked.
pub(super) enum Piece<'t> {
    /// Shown as it is.
    Plain(&'t str),
    /// Hidden.
    Secret {
        /// What is shown.
        placeholder: String,
        /// What it stands for.
        value: &'t str,
    },
}

fn placeholders_of(session: &Session, line: &str) -> Option<String> {
    let found = session.placeholders(line);
    found.first().map(|one| line.get(one.start..one.end).unwrap_or_default().to_owned())
}
