//! Whether a rank has to go on at the gate, because other nodes have begun what it has not come to.

use crate::ctx::MpiCtx;
use crate::port::MpiPort;
use crate::request::Operation;
use crate::world::{Clock, Series};

impl<P: MpiPort> MpiCtx<P> {
    /// Whether some communicator of this rank is behind one of these clocks.
    pub(super) fn is_behind(&self, targets: &[Clock]) -> bool {
        targets.iter().any(|target| self.is_behind_of(target))
    }

    fn is_behind_of(&self, target: &Clock) -> bool {
        let others = self.comms.iter().map(|(_, comm)| comm);
        let mut comms = std::iter::once(&self.comm_world).chain(others);
        let Some(comm) = comms.find(|comm| comm.context == target.context) else { return false };
        match target.series {
            Series::Meetings => comm.meetings < target.count,
            Series::Started => comm.site.started() < target.count,
            Series::Persistent(number) if comm.site.started() < number => true,
            Series::Persistent(number) => {
                let mut requests = self.requests.iter();
                let starts = requests.find_map(|(_, request)| match &request.operation {
                    Operation::Collective(own) if request.context == target.context => {
                        own.persistent.filter(|one| one.number == number)
                    }
                    _ => None,
                });
                starts.is_some_and(|one| one.starts_told_apart() < target.count)
            }
        }
    }
}
