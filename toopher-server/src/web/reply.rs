//! What a page shows besides its state: the view that the user has chosen, and the reply to the last action.

/// The reply to the user's last action.
#[derive(Clone, Copy, Default)]
pub(super) struct Reply<'a> {
    /// Why the action was rejected.
    pub(super) message: &'a str,
    /// The name of the action, whose form shows the message.
    pub(super) act: &'a str,
    /// The pairing of the action, of which there may be several.
    pub(super) pairing: &'a str,
    pub(super) view: View,
}

/// The view of a page, by the query of its URL. All but the first one are for users who are about to type, so a browser
/// without scripts must not reload them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum View {
    #[default]
    Main,
    /// The form for a code, in a browser without scripts.
    Code,
    /// The other ways of a user who cannot answer on the phone.
    Other,
    /// The same, after a link was sent.
    Sent,
}

impl View {
    pub(super) fn new(query: Option<&str>) -> Self {
        match query {
            Some("code") => Self::Code,
            Some("other") => Self::Other,
            Some("sent") => Self::Sent,
            _ => Self::Main,
        }
    }

    pub(super) fn is_typing(self) -> bool {
        self != Self::Main
    }
}
