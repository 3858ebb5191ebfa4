//! `ROLE`: what this process does.

/// What a process does. Several of each can share one PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Serves the page, the API and the webhooks, and works the queue.
    All,
    /// Serves, and leaves the work to others.
    Web,
    /// Works the queue; serves only whether it is well.
    Worker,
}

impl Duty {
    /// Whether it serves the page.
    pub fn serves(self) -> bool {
        self != Self::Worker
    }

    /// Whether it works the queue.
    pub fn works(self) -> bool {
        self != Self::Web
    }
}

impl std::str::FromStr for Duty {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "all" => Ok(Self::All),
            "web" => Ok(Self::Web),
            "worker" => Ok(Self::Worker),
            _ => Err(()),
        }
    }
}
