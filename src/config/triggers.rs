//! `TRIGGERS`: how events reach the co-worker.

/// How events are found: brought by service hooks, looked for, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Triggers {
    /// Service hooks bring them.
    pub webhook: bool,
    /// They are looked for at short intervals.
    pub poll: bool,
}

impl Triggers {
    /// Without the setting: service hooks where there are credentials for them, else looking.
    pub fn usual(has_credentials: bool) -> Self {
        Self { webhook: has_credentials, poll: !has_credentials }
    }
}

impl std::str::FromStr for Triggers {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut triggers = Self { webhook: false, poll: false };
        for part in text.split(',').map(str::trim) {
            match part {
                "webhook" => triggers.webhook = true,
                "poll" => triggers.poll = true,
                _ => return Err(()),
            }
        }
        Ok(triggers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_are_named_and_nothing_else_is() {
        assert_eq!("webhook,poll".parse(), Ok(Triggers { webhook: true, poll: true }));
        assert_eq!(" poll ".parse(), Ok(Triggers { webhook: false, poll: true }));
        for text in ["", "webhook,", "hooks", "webhook;poll"] {
            assert!(text.parse::<Triggers>().is_err(), "{text}");
        }
    }
}
