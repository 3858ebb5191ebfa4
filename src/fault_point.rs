//! Points at which a test can end or hold the process, and defences that a test can switch off.
//!
//! Purpose: shows what becomes of a run when the process dies exactly here, and that the checks of
//! the crash tests find it when a defence is missing. Built only with the feature `fail-points`,
//! never in a release; without it every call here is empty.
//! Invariant: nothing is armed but by the environment of a child process (`FAILPOINTS`, in the
//! words of the crate `fail`: `gate.after_intent=2*off->return(abort)`), so a test in the same
//! process is never touched.

#[cfg(all(feature = "fail-points", not(debug_assertions)))]
compile_error!("the feature fail-points is for tests: build without --release");

/// Takes what the environment arms. Called once, first of all.
pub fn arm() {
    #[cfg(feature = "fail-points")]
    // It holds for the life of the process.
    std::mem::forget(fail::FailScenario::setup());
}

/// The process passes `point`. It is told at level trace under the target `fault_point`.
#[inline]
pub fn pass(point: &str) {
    #[cfg(feature = "fail-points")]
    {
        tracing::trace!(target: "fault_point", "passed {point}");
        // `return(abort)` ends the process as a kill does: nothing is flushed and nothing unwinds.
        let word = fail::eval(point, |word| word.unwrap_or_default());
        if word.as_deref() == Some("abort") {
            std::process::abort();
        }
    }
    #[cfg(not(feature = "fail-points"))]
    let _ = point;
}

/// Whether `defence` is switched off. Always false without the feature.
#[inline]
pub fn is_off(defence: &str) -> bool {
    #[cfg(feature = "fail-points")]
    return fail::eval(defence, |_| ()).is_some();
    #[cfg(not(feature = "fail-points"))]
    {
        let _ = defence;
        false
    }
}
