//! One believable run, for snapshots and for looking at the pages.

use super::*;
use crate::action::{Action, Author, BranchName, CommitId, RepositoryRef};

const DIFF: &str = "\
--- a/src/login/session.ts
+++ b/src/login/session.ts
@@ -12,7 +12,8 @@ export class SessionStore {
   constructor(private readonly settings: Settings) {}
 
   expiresAt(login: Date): Date {
-    return new Date(login.getTime() + this.settings.loginTimeout);
+    // The setting is in seconds, a Date counts milliseconds.
+    return new Date(login.getTime() + this.settings.loginTimeout * 1000);
   }
 
   isExpired(session: Session, now: Date): boolean {
--- a/tests/session.test.ts
+++ b/tests/session.test.ts
@@ -31,3 +31,8 @@ describe(\"session\", () => {
   it(\"is new\", () => {
     expect(store.isExpired(session, login)).toBe(false);
   });
+
+  it(\"lives as long as the setting says\", () => {
+    const store = new SessionStore({ loginTimeout: 900 });
+    expect(store.expiresAt(login).getTime() - login.getTime()).toBe(900_000);
+  });
";

const ANSWER: &str = "\
The login timeout is fixed and ready for review.

- **[Issue 4](http://127.0.0.1:4193/contoso/Fabrikam/_workitems/edit/4)** says what was wrong.
- The fix is one line in `src/login/session.ts`: the setting is in *seconds*, the code took it for milliseconds.
- I added a test that fails without it.

| what | where |
|---|---|
| branch | `agent/4-fix-login-timeout` |
| pull request | [!12](http://127.0.0.1:4193/contoso/Fabrikam/_git/web-shop/pullrequest/12), a draft until its build is green |

```ts
return new Date(login.getTime() + this.settings.loginTimeout * 1000);
```
";

pub(super) const INSTRUCTION: &str =
    "Create an issue titled 'Fix login timeout', push a fix to a new branch, and open a PR for it.";

fn intended(step: u32, action: Action, rule: &str) -> Entry {
    let digest = action.digest().unwrap();
    let verdict = Verdict {
        outcome: Judged::Allow,
        rules: vec![rule.into()],
        message: String::new(),
        policy: crate::digest::Digest::of("t", b""),
        ..Verdict::default()
    };
    Entry::Intended { step, write: 1, action, digest, verdict }
}

fn here() -> RepositoryRef {
    RepositoryRef { project: "Fabrikam".into(), repository: "web-shop".into() }
}

fn ok(summary: &str, path: &str, content: Value) -> Outcome {
    Outcome {
        ok: true,
        content: content.to_string(),
        summary: summary.into(),
        target_url: Some(format!("http://127.0.0.1:4193/contoso/Fabrikam/{path}")),
        ..Outcome::default()
    }
}

/// The work, in portions as a worker would append them.
pub(super) fn work() -> Vec<Vec<Entry>> {
    let create = Action::CreateWorkItem {
        project: "Fabrikam".into(),
        work_item_type: "Issue".into(),
        title: "Fix login timeout".into(),
        description: "Sessions end after one second.".into(),
        assigned_to: None,
        parent_id: None,
        run_url: None,
    };
    let push = Action::Push {
        repository: here(),
        branch: BranchName::new("agent/4-fix-login-timeout").unwrap(),
        old_commit: CommitId::new(&"0".repeat(40)).unwrap(),
        message: "Count the login timeout in seconds".into(),
        author: Author { name: "ADO Coworker".into(), email: "ado-coworker@contoso.example".into() },
        changes: Vec::new(),
    };
    vec![
        vec![started(1, "create_work_item", json!({"type": "Issue", "title": "Fix login timeout",
            "description": "Sessions end after one second instead of fifteen minutes.\n\nThe setting `loginTimeout` is in seconds; the code takes it for milliseconds.", "assigned_to": null}))],
        vec![intended(1, create, "work-items"), tool_done(1, "create_work_item", Outcome {
            links: vec![link("work_item", "Issue 4: Fix login timeout", "_workitems/edit/4")],
            ..ok("Issue 4: Fix login timeout", "_workitems/edit/4", json!({"id": 4, "type": "Issue", "title": "Fix login timeout", "state": "To Do"}))
        })],
        vec![started(2, "read_file", json!({"path": "/src/login/session.ts", "branch": null}))],
        vec![tool_done(2, "read_file", ok("/src/login/session.ts, 48 lines", "_git/web-shop?path=/src/login/session.ts",
            json!({"path": "/src/login/session.ts", "branch": "main", "lines": 48, "text": "import { Settings } from \"../settings\";\n\nexport class SessionStore {\n  // …\n}\n"})))],
        vec![replied(1, "The setting is in seconds and the code takes it for milliseconds. I change that one line and add a test.")],
        vec![started(3, "push_changes", json!({"branch": "main", "message": "Count the login timeout in seconds"}))],
        vec![denied(3, "git.push"), tool_done(3, "push_changes", Outcome {
            summary: "main is not written by the co-worker".into(),
            content: json!({"error": "Only branches under agent/ are written.", "remedy": "Leave branch out to get a new one."}).to_string(),
            ..Outcome::default()
        })],
        vec![started(4, "push_changes", json!({"branch": null, "work_item_id": 4, "message": "Count the login timeout in seconds",
            "changes": [{"path": "/src/login/session.ts", "action": "edit"}]}))],
        vec![intended(4, push, "own-branches"), tool_done(4, "push_changes", Outcome {
            links: vec![link("branch", "agent/4-fix-login-timeout", "_git/web-shop?version=GBagent/4-fix-login-timeout"),
                link("commit", "3f9a1c07", "_git/web-shop/commit/3f9a1c07")],
            diff: Some(DIFF.into()),
            ..ok("3f9a1c07 on agent/4-fix-login-timeout, 2 files", "_git/web-shop/commit/3f9a1c07",
                json!({"branch": "agent/4-fix-login-timeout", "commit": "3f9a1c0745d2", "files": ["/src/login/session.ts", "/tests/session.test.ts"]}))
        })],
        vec![Entry::Trouble { what: "The model asked for patience (429). The run goes on in 2 seconds.".into(), remedy: None }],
        vec![started(5, "create_pull_request", json!({"source_branch": "agent/4-fix-login-timeout", "title": "Count the login timeout in seconds", "reviewers": ["alice"], "work_item_ids": [4]}))],
        vec![tool_done(5, "create_pull_request", Outcome {
            links: vec![link("pull_request", "!12 Count the login timeout in seconds", "_git/web-shop/pullrequest/12")],
            ..ok("Draft pull request 12, reviewer alice", "_git/web-shop/pullrequest/12", json!({"id": 12, "is_draft": true}))
        })],
        vec![replied(2, ANSWER)],
        vec![finished(Status::Done, ANSWER, None)],
    ]
}
