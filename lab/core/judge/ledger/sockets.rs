//! Receiving sockets: what one says it has dropped is what the drop events tell of.

use std::collections::BTreeMap;

use crate::judge::account::TrialAccount;
use crate::judge::ledger::LedgerError;
use crate::net::name::DeviceRef;
use crate::plan::Plan;
use crate::plan::record::{DropPlace, Record};

/// Compares the two, for each receiving device whose socket counts; without drop events there is nothing to compare.
///
/// # Errors
/// They differ.
pub fn agree(
    plan: &Plan,
    trial: usize,
    records: &[&Record],
    account: &TrialAccount,
) -> Result<(), LedgerError> {
    if account.unobserved.is_some() {
        return Ok(());
    }
    let receiver = |flow: u16| plan.flows.get(usize::from(flow)).map(|plan| &plan.flow.to);
    let mut counted: BTreeMap<&DeviceRef, u32> = BTreeMap::new();
    let mut told: BTreeMap<&DeviceRef, u32> = BTreeMap::new();
    for record in records {
        match record {
            Record::Seen { flow, socket_dropped: Some(dropped), .. } => {
                counted.extend(receiver(*flow).map(|device| (device, *dropped)));
            }
            Record::Dropped { flow, frames, place, .. } if is_full_socket(place) => {
                receiver(*flow)
                    .into_iter()
                    .for_each(|device| *told.entry(device).or_default() += frames.len());
            }
            _ => {}
        }
    }
    for (device, counted) in counted {
        let told = told.get(device).copied().unwrap_or(0);
        if counted != told {
            let what = format!(
                "the socket at {device} has dropped {counted} datagrams, and {told} were seen dropped"
            );
            return Err(LedgerError::Contradiction { trial, what });
        }
    }
    Ok(())
}

/// `__udp_enqueue_schedule_skb()` refuses a datagram, `__udp_queue_rcv_skb()` counts it, and `udp_queue_rcv_one_skb()`,
/// into which both may be inlined, frees it; before 5.17 that function is all that an event names.
fn is_full_socket(place: &DropPlace) -> bool {
    match place.reason.as_deref() {
        Some(reason) => matches!(reason, "SOCKET_RCVBUFF" | "PROTO_MEM"),
        None => [&place.location]
            .into_iter()
            .chain(&place.stack)
            .any(|function| function.starts_with("udp_queue_rcv_one_skb")),
    }
}
