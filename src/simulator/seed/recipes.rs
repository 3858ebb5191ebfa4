//! What the stand-in model knows about the seeded repository: how its one bug is repaired, and how
//! the value behind it becomes a setting. A recipe is only texts; whether it fits is decided by
//! looking for its old texts in the files that were read.

/// One replacement. The first of `old` that the file holds is replaced by `new`.
pub struct Edit {
    /// Texts that may stand there, newest first.
    pub old: &'static [&'static str],
    /// What stands there afterwards.
    pub new: &'static str,
}

/// A known change to the seeded repository.
pub struct Recipe {
    /// Every group must have one of its words in what was asked; words are lower case.
    pub words: &'static [&'static [&'static str]],
    /// What is wrong or wanted, as the description of a work item (Markdown).
    pub problem: &'static str,
    /// What the change does, as the description of a pull request (Markdown).
    pub solution: &'static str,
    /// Files in the order in which they are read, with their replacements.
    pub files: &'static [(&'static str, &'static [Edit])],
}

/// The known repairs, for work that begins with an issue or an instruction.
pub const REPAIRS: &[&Recipe] = &[&LOGIN_TIMEOUT_SETTING, &LOGIN_TIMEOUT];

/// Sign-in ends after 1.8 seconds, because seconds are given where milliseconds are expected.
pub const LOGIN_TIMEOUT: Recipe = Recipe {
    words: &[
        &["login", "log-in", "log in", "sign-in", "sign in", "signed in", "signed out", "session", "timeout"],
        &[
            "timeout",
            "time out",
            "expire",
            "ends",
            "at once",
            "too soon",
            "too early",
            "signed out",
            "logged out",
            "again",
            "seconds",
            "lasts",
            "keeps",
            "stay",
        ],
    ],
    problem: "Customers are signed out about two seconds after they sign in, so nobody reaches the cart.\n\n\
        **Expected:** a sign-in lasts half an hour without activity (see `docs/sessions.md`), and the cookie and \
        the session end at the same time.\n\n\
        **To reproduce:** `POST /login`, wait three seconds, then `GET /cart`. The answer is 401.",
    solution: "## What was wrong\n\
        `signIn` gave the session store a number of seconds (1800), but `Sessions.open` expects milliseconds. The \
        session ended after 1.8 seconds, while the cookie, which does want seconds, lived on.\n\n\
        ## What changed\n\
        - The constant carries its unit in its name, as `AGENTS.md` asks, and is converted for the session store.\n\
        - The cookie keeps its half hour.\n\n\
        ## How it is tested\n\
        A new test in `test/login.test.ts` uses a sign-in after 29 minutes and after it has ended. It fails \
        without the repair.",
    files: &[
        (
            "/src/auth/login.ts",
            &[
                Edit {
                    old: &[
                        "/** How long a sign-in lasts without activity: half an hour. */\nconst LOGIN_TIMEOUT = 30 * 60;",
                    ],
                    new: "/** Seconds that a sign-in lasts without activity: half an hour. */\nconst LOGIN_TIMEOUT_SECONDS = 30 * 60;",
                },
                Edit {
                    old: &["sessions.open(customer.id, LOGIN_TIMEOUT);"],
                    new: "sessions.open(customer.id, LOGIN_TIMEOUT_SECONDS * 1000);",
                },
                Edit {
                    old: &["sessionCookie(settings, session.id, LOGIN_TIMEOUT)"],
                    new: "sessionCookie(settings, session.id, LOGIN_TIMEOUT_SECONDS)",
                },
            ],
        ),
        (
            "/test/login.test.ts",
            &[Edit {
                old: &["test(\"signing out ends the session\", () => {"],
                new: r#"test("a sign-in lasts half an hour without activity", () => {
  let now = 0;
  const sessions = new Sessions(() => now);
  const id = signIn(customers, sessions, settings, "ada@example.com", "teapot")?.session.id ?? "";
  now = 29 * 60 * 1000;
  assert.equal(sessions.use(id)?.customerId, "c1");
  now += 31 * 60 * 1000;
  assert.equal(sessions.use(id), undefined);
});

test("signing out ends the session", () => {"#,
            }],
        ),
    ],
};

/// The length of a sign-in becomes a setting. Fits before and after the repair above.
pub const LOGIN_TIMEOUT_SETTING: Recipe = Recipe {
    words: &[
        &["timeout", "sign-in", "login", "session"],
        &["configurable", "configuration", "config", "setting"],
    ],
    problem: "How long a sign-in lasts is fixed in `src/auth/login.ts`. It should be a setting in \
        `config/default.json`, checked at start like the others, with half an hour as its default.",
    solution: "## What changed\n\
        - `session.loginTimeoutSeconds` in `config/default.json` says how long a sign-in lasts; 1800 as before.\n\
        - `src/config.ts` checks it at start: a whole number of at least 1.\n\
        - `signIn` takes it from the settings for both the session and the cookie.\n\
        - `docs/sessions.md` names the setting.\n\n\
        ## How it is tested\n\
        `test/login.test.ts` signs in with a timeout of its own; `test/config.test.ts` reads the default.",
    files: &[
        (
            "/src/auth/login.ts",
            &[
                Edit {
                    old: &[
                        "/** Seconds that a sign-in lasts without activity: half an hour. */\nconst LOGIN_TIMEOUT_SECONDS = 30 * 60;\n\n",
                        "/** How long a sign-in lasts without activity: half an hour. */\nconst LOGIN_TIMEOUT = 30 * 60;\n\n",
                    ],
                    new: "",
                },
                Edit {
                    old: &["export interface SignedIn {"],
                    new: "export interface LoginSettings extends CookieSettings {\n  /** How long a sign-in lasts without activity. */\n  loginTimeoutSeconds: number;\n}\n\nexport interface SignedIn {",
                },
                Edit {
                    old: &["  settings: CookieSettings,\n  email: string,"],
                    new: "  settings: LoginSettings,\n  email: string,",
                },
                Edit {
                    old: &[
                        "sessions.open(customer.id, LOGIN_TIMEOUT_SECONDS * 1000);",
                        "sessions.open(customer.id, LOGIN_TIMEOUT);",
                    ],
                    new: "sessions.open(customer.id, settings.loginTimeoutSeconds * 1000);",
                },
                Edit {
                    old: &[
                        "sessionCookie(settings, session.id, LOGIN_TIMEOUT_SECONDS)",
                        "sessionCookie(settings, session.id, LOGIN_TIMEOUT)",
                    ],
                    new: "sessionCookie(settings, session.id, settings.loginTimeoutSeconds)",
                },
            ],
        ),
        (
            "/src/config.ts",
            &[
                Edit {
                    old: &["session: { cookieName: string; secureCookie: boolean };"],
                    new: "session: { cookieName: string; secureCookie: boolean; loginTimeoutSeconds: number };",
                },
                Edit {
                    old: &["      secureCookie: session[\"secureCookie\"] === true,\n"],
                    new: "      secureCookie: session[\"secureCookie\"] === true,\n      loginTimeoutSeconds: whole(session, \"loginTimeoutSeconds\", 1),\n",
                },
            ],
        ),
        (
            "/config/default.json",
            &[Edit {
                old: &["\"secureCookie\": false\n"],
                new: "\"secureCookie\": false,\n    \"loginTimeoutSeconds\": 1800\n",
            }],
        ),
        (
            "/test/login.test.ts",
            &[
                Edit {
                    old: &["const settings = { cookieName: \"shop_session\", secureCookie: true };"],
                    new: "const settings = { cookieName: \"shop_session\", secureCookie: true, loginTimeoutSeconds: 1800 };",
                },
                Edit {
                    old: &["test(\"signing out ends the session\", () => {"],
                    new: r#"test("the settings say how long a sign-in lasts", () => {
  let now = 0;
  const sessions = new Sessions(() => now);
  const short = { ...settings, loginTimeoutSeconds: 60 };
  const signedIn = signIn(customers, sessions, short, "ada@example.com", "teapot");
  assert.match(signedIn?.cookie ?? "", /Max-Age=60;/);
  now = 61 * 1000;
  assert.equal(sessions.use(signedIn?.session.id ?? ""), undefined);
});

test("signing out ends the session", () => {"#,
                },
            ],
        ),
        (
            "/test/config.test.ts",
            &[Edit {
                old: &["assert.equal(config.session.cookieName, \"shop_session\");"],
                new: "assert.equal(config.session.cookieName, \"shop_session\");\n  assert.equal(config.session.loginTimeoutSeconds, 1800);",
            }],
        ),
        (
            "/docs/sessions.md",
            &[Edit {
                old: &["- A sign-in lasts half an hour."],
                new: "- A sign-in lasts `session.loginTimeoutSeconds` of `config/default.json`, half an hour unless it is changed.",
            }],
        ),
    ],
};
