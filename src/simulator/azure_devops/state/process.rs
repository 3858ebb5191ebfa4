//! The processes: which work item types there are, and which states they go through.

use super::data::Process;

/// A state of a work item type.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// Name.
    pub name: &'static str,
    /// Colour, six hexadecimal digits.
    pub color: &'static str,
    /// `Proposed`, `InProgress`, `Resolved`, `Completed`, `Removed`.
    pub category: &'static str,
}

/// A work item type.
#[derive(Clone, Copy, Debug)]
pub struct WorkItemType {
    /// Name.
    pub name: &'static str,
    /// Reference name.
    pub reference: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// Colour.
    pub color: &'static str,
    /// Icon.
    pub icon: &'static str,
    /// States in order; the first is where it starts.
    pub states: &'static [State],
    /// Fields of its own beside the common ones.
    pub fields: &'static [&'static str],
}

const fn state(name: &'static str, color: &'static str, category: &'static str) -> State {
    State { name, color, category }
}

const BASIC: &[State] = &[
    state("To Do", "b2b2b2", "Proposed"),
    state("Doing", "007acc", "InProgress"),
    state("Done", "339933", "Completed"),
];
const AGILE: &[State] = &[
    state("New", "b2b2b2", "Proposed"),
    state("Active", "007acc", "InProgress"),
    state("Resolved", "ff9d00", "Resolved"),
    state("Closed", "339933", "Completed"),
    state("Removed", "ffffff", "Removed"),
];
const AGILE_TASK: &[State] = &[
    state("New", "b2b2b2", "Proposed"),
    state("Active", "007acc", "InProgress"),
    state("Closed", "339933", "Completed"),
    state("Removed", "ffffff", "Removed"),
];
const AGILE_BUG: &[State] = &[
    state("New", "b2b2b2", "Proposed"),
    state("Active", "007acc", "InProgress"),
    state("Resolved", "ff9d00", "Resolved"),
    state("Closed", "339933", "Completed"),
];

/// Fields that every type has.
pub const COMMON: &[&str] = &[
    "System.Id",
    "System.Rev",
    "System.Title",
    "System.WorkItemType",
    "System.State",
    "System.Reason",
    "System.AssignedTo",
    "System.Description",
    "System.Tags",
    "System.History",
    "System.AreaPath",
    "System.AreaId",
    "System.NodeName",
    "System.IterationPath",
    "System.IterationId",
    "System.TeamProject",
    "System.CreatedDate",
    "System.CreatedBy",
    "System.ChangedDate",
    "System.ChangedBy",
    "System.AuthorizedDate",
    "System.AuthorizedAs",
    "System.RevisedDate",
    "System.Watermark",
    "System.CommentCount",
    "System.Parent",
    "System.BoardColumn",
    "Microsoft.VSTS.Common.Priority",
    "Microsoft.VSTS.Common.StackRank",
    "Microsoft.VSTS.Common.StateChangeDate",
    "Microsoft.VSTS.Common.ActivatedDate",
    "Microsoft.VSTS.Common.ActivatedBy",
    "Microsoft.VSTS.Common.ResolvedDate",
    "Microsoft.VSTS.Common.ResolvedBy",
    "Microsoft.VSTS.Common.ClosedDate",
    "Microsoft.VSTS.Common.ClosedBy",
];

const SCHEDULE: &[&str] = &[
    "Microsoft.VSTS.Scheduling.Effort",
    "Microsoft.VSTS.Scheduling.StartDate",
    "Microsoft.VSTS.Scheduling.TargetDate",
];
const TASK: &[&str] = &[
    "Microsoft.VSTS.Common.Activity",
    "Microsoft.VSTS.Scheduling.RemainingWork",
    "Microsoft.VSTS.Scheduling.CompletedWork",
    "Microsoft.VSTS.Scheduling.OriginalEstimate",
    "Microsoft.VSTS.Scheduling.StartDate",
    "Microsoft.VSTS.Scheduling.FinishDate",
];
const STORY: &[&str] = &[
    "Microsoft.VSTS.Common.AcceptanceCriteria",
    "Microsoft.VSTS.Scheduling.StoryPoints",
    "Microsoft.VSTS.Common.ValueArea",
    "Microsoft.VSTS.Scheduling.StartDate",
    "Microsoft.VSTS.Scheduling.FinishDate",
];
const BUG: &[&str] = &[
    "Microsoft.VSTS.TCM.ReproSteps",
    "Microsoft.VSTS.TCM.SystemInfo",
    "Microsoft.VSTS.Common.Severity",
    "Microsoft.VSTS.Common.AcceptanceCriteria",
    "Microsoft.VSTS.Scheduling.StoryPoints",
    "Microsoft.VSTS.Common.Activity",
    "Microsoft.VSTS.Scheduling.RemainingWork",
];

const BASIC_TYPES: &[WorkItemType] = &[
    WorkItemType {
        name: "Epic",
        reference: "Microsoft.VSTS.WorkItemTypes.Epic",
        description: "Groups issues that belong to one goal.",
        color: "E06C00",
        icon: "icon_crown",
        states: BASIC,
        fields: SCHEDULE,
    },
    WorkItemType {
        name: "Issue",
        reference: "Microsoft.VSTS.WorkItemTypes.Issue",
        description: "A piece of work or a problem that somebody notices.",
        color: "B4009E",
        icon: "icon_clipboard_issue",
        states: BASIC,
        fields: SCHEDULE,
    },
    WorkItemType {
        name: "Task",
        reference: "Microsoft.VSTS.WorkItemTypes.Task",
        description: "A step towards an issue.",
        color: "A4880A",
        icon: "icon_clipboard",
        states: BASIC,
        fields: TASK,
    },
];

const AGILE_TYPES: &[WorkItemType] = &[
    WorkItemType {
        name: "Epic",
        reference: "Microsoft.VSTS.WorkItemTypes.Epic",
        description: "Groups features that belong to one goal.",
        color: "E06C00",
        icon: "icon_crown",
        states: AGILE,
        fields: SCHEDULE,
    },
    WorkItemType {
        name: "Feature",
        reference: "Microsoft.VSTS.WorkItemTypes.Feature",
        description: "Something that the product can do.",
        color: "773B93",
        icon: "icon_trophy",
        states: AGILE,
        fields: SCHEDULE,
    },
    WorkItemType {
        name: "User Story",
        reference: "Microsoft.VSTS.WorkItemTypes.UserStory",
        description: "What a user wants to do, and why.",
        color: "009CCC",
        icon: "icon_book",
        states: AGILE,
        fields: STORY,
    },
    WorkItemType {
        name: "Task",
        reference: "Microsoft.VSTS.WorkItemTypes.Task",
        description: "A step towards a story or a bug.",
        color: "A4880A",
        icon: "icon_clipboard",
        states: AGILE_TASK,
        fields: TASK,
    },
    WorkItemType {
        name: "Bug",
        reference: "Microsoft.VSTS.WorkItemTypes.Bug",
        description: "Something that does not work as it should.",
        color: "CC293D",
        icon: "icon_insect",
        states: AGILE_BUG,
        fields: BUG,
    },
];

impl Process {
    /// Its work item types.
    pub fn types(self) -> &'static [WorkItemType] {
        match self {
            Process::Basic => BASIC_TYPES,
            Process::Agile => AGILE_TYPES,
        }
    }

    /// A type by name, ignoring case.
    pub fn find(self, name: &str) -> Option<&'static WorkItemType> {
        self.types().iter().find(|t| t.name.eq_ignore_ascii_case(name))
    }

    /// Id of the process template.
    pub fn template_id(self) -> &'static str {
        match self {
            Process::Basic => "b8a3a935-7e91-48b8-a94c-606d37c3e9f2",
            Process::Agile => "adcc42ab-9882-485e-a3ed-7678f01f66bc",
        }
    }
}

impl WorkItemType {
    /// A state by name, ignoring case.
    pub fn state(&self, name: &str) -> Option<&'static State> {
        self.states.iter().find(|s| s.name.eq_ignore_ascii_case(name))
    }

    /// Whether the type has the field.
    pub fn has(&self, reference: &str) -> bool {
        COMMON.contains(&reference) || self.fields.contains(&reference)
    }

    /// The reason that goes with entering `state`.
    pub fn reason(&self, from: Option<&State>, to: &State) -> &'static str {
        match (self.states.len() == 3, from.is_none(), to.category) {
            (true, _, "Proposed") => "Added to backlog",
            (true, _, "InProgress") => "Started",
            (true, _, _) => "Completed",
            (false, true, _) => "New",
            (false, _, "InProgress") => "Implementation started",
            (false, _, "Resolved") => "Code complete and unit tests pass",
            (false, _, "Completed") => "Acceptance tests pass",
            (false, _, "Removed") => "Removed from the backlog",
            _ => "Moved to state New",
        }
    }

    /// The state that completion of a pull request moves it to.
    pub fn completed(&self) -> Option<&'static State> {
        self.states.iter().find(|s| s.category == "Completed")
    }
}
