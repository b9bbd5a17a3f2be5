//! Learners that the membership does not list: observers without a server line, joiners, strangers.
//! Anybody who finds the port can be one, so they are few.

use super::super::action::LinkError;
use super::super::core::Core;
use super::{Leader, Link, Stage};
use crate::types::{LinkId, ServerId};

/// Who makes room for one more guest, given the links of those there are, oldest first, and whether
/// each is synchronised: nobody while they are fewer than `max`, otherwise the oldest that is not.
///
/// # Errors
/// [`LinkError::TooManyGuests`] when all are synchronised: what works is not given up for what may.
pub(in crate::zab) fn make_room(
    guests: impl Iterator<Item = (LinkId, bool)>,
    max: usize,
) -> Result<Option<LinkId>, LinkError> {
    let (mut count, mut oldest) = (0, None);
    for (link, synced) in guests {
        count += 1;
        oldest = oldest.or((!synced).then_some(link));
    }
    match oldest {
        _ if count < max => Ok(None),
        Some(oldest) => Ok(Some(oldest)),
        None => Err(LinkError::TooManyGuests(max)),
    }
}

impl Leader {
    /// Takes `server` on `link`, if it is a guest, among the few guests there may be.
    pub(super) fn admit(
        &mut self,
        core: &mut Core,
        link: LinkId,
        server: ServerId,
    ) -> Result<(), LinkError> {
        let is_guest = |server| !core.options.membership.is_member(server);
        if !is_guest(server) {
            return Ok(());
        }
        let known = self.links.iter().filter(|(id, l)| **id != link && l.is_introduced());
        let guests = known.filter(|(_, l)| is_guest(l.server));
        let guests = guests.map(|(id, l)| (*id, l.stage == Stage::Active));
        if let Some(oldest) = make_room(guests, core.options.guests_max)? {
            core.close(oldest, LinkError::TooManyGuests(core.options.guests_max));
            self.forget(core, oldest);
        }
        Ok(())
    }
}

impl Link {
    /// Whether it has said who it is.
    pub(super) fn is_introduced(&self) -> bool {
        self.stage != Stage::Introducing
    }
}
