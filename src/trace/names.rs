//! Names of attributes. Those of `gen_ai` are OpenTelemetry's conventions for generative AI as of
//! November 2026, which are in development; those of guardrails are a draft of theirs. A change of
//! theirs is a change of this file.

macro_rules! names {
    ($($(#[$doc:meta])* $constant:ident = $name:literal;)*) => {
        $($(#[$doc])* pub const $constant: &str = $name;)*
    };
}

names! {
    /// What is done: `invoke_agent`, `chat`, `execute_tool`.
    OPERATION = "gen_ai.operation.name";
    /// Who provides the model.
    PROVIDER = "gen_ai.provider.name";
    /// Application id of the agent identity.
    AGENT_ID = "gen_ai.agent.id";
    /// The agent user's name.
    AGENT_NAME = "gen_ai.agent.name";
    /// Version of this program.
    AGENT_VERSION = "gen_ai.agent.version";
    /// The run.
    CONVERSATION = "gen_ai.conversation.id";
    /// The deployment that is asked.
    REQUEST_MODEL = "gen_ai.request.model";
    /// The model that answered, as it names itself.
    RESPONSE_MODEL = "gen_ai.response.model";
    /// The service's id of the request.
    RESPONSE_ID = "gen_ai.response.id";
    /// Why the answer ended.
    FINISH = "gen_ai.response.finish_reasons";
    /// Tokens read.
    INPUT_TOKENS = "gen_ai.usage.input_tokens";
    /// Of those, from the cache.
    CACHED_TOKENS = "gen_ai.usage.cache_read.input_tokens";
    /// Tokens written.
    OUTPUT_TOKENS = "gen_ai.usage.output_tokens";
    /// The tool.
    TOOL = "gen_ai.tool.name";
    /// `function`.
    TOOL_TYPE = "gen_ai.tool.type";
    /// The model's id of the call.
    TOOL_CALL = "gen_ai.tool.call.id";
    /// `input` or `output`.
    GUARDRAIL_TARGET = "gen_ai.guardrail.target.type";
    /// `tool_call`.
    GUARDRAIL_SUBTYPE = "gen_ai.guardrail.target.subtype";
    /// `allow`, `deny`, `modify` or `escalate`.
    GUARDRAIL_VERDICT = "gen_ai.guardrail.verdict.type";
    /// The rule that decided.
    GUARDRAIL_RULE = "gen_ai.guardrail.security.policy.rule.id";
    /// Hash of the rules.
    GUARDRAIL_POLICY = "gen_ai.guardrail.security.policy.id";
    /// Whether the content was changed.
    GUARDRAIL_MODIFIED = "gen_ai.guardrail.content.modified";
    /// The kind of a failure.
    ERROR = "error.type";
    /// Host that is asked.
    SERVER = "server.address";
    /// Its port.
    PORT = "server.port";
    /// HTTP method.
    METHOD = "http.request.method";
    /// Path of the address, without what was put into it.
    TEMPLATE = "url.template";
    /// HTTP status.
    STATUS = "http.response.status_code";
    /// Azure DevOps' own id of the request.
    ACTIVITY = "adoc.ado.activity_id";
    /// The id that was sent to Azure DevOps.
    E2EID = "adoc.ado.e2eid";
    /// The id that was sent to the model.
    CLIENT_REQUEST = "adoc.model.client_request_id";
    /// Entra's own id of the token that was brought (`uti`).
    TOKEN_ID = "adoc.token.id";
    /// Entra's trace id of a refusal.
    ENTRA_TRACE = "adoc.entra.trace_id";
    /// The correlation id that was sent to Entra through the sidecar.
    CORRELATION = "adoc.entra.correlation_id";
    /// How often the run has been taken up.
    FENCE = "adoc.run.fence";
    /// How the work ended for now: `settled`, `stopped` or `lost`.
    LEFT = "adoc.run.left";
    /// The service's own id of a request to the model.
    MODEL_REQUEST = "adoc.model.request_id";
    /// Number of the tool call in the run.
    STEP = "adoc.step";
    /// The action that was judged.
    ACTION = "adoc.policy.action";
    /// What the rules said.
    DECISION = "adoc.policy.outcome";
    /// Which approval.
    APPROVAL = "adoc.approval.id";
    /// What people said.
    APPROVAL_OUTCOME = "adoc.approval.outcome";
    /// How long people were waited for, in seconds.
    APPROVAL_WAIT = "adoc.approval.wait";
}
