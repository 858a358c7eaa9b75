//! Pods: ADD of each delegate with rollback, DEL in reverse order, CHECK.

pub mod dhcp;
pub mod dhcp_daemon;
pub mod plugin;

use crate::agent::testbed::Testbed;
use crate::device::{addresses, build, links, verify};
use bondlab_core::plan::op::{Op, Part, Undo};
use bondlab_core::plan::record::{OpError, Record};

/// Carries out a step about a pod. That a plugin fails is recorded, and is no error: the pod's next step may show what
/// is left.
///
/// # Errors
/// The step is about no pod.
pub async fn perform((trial, number): (u16, u32), bed: &mut Testbed, op: &Op) -> Result<Record, OpError> {
    let (failed, left) = match op {
        Op::Attach { parts, .. } => add(bed, parts).await,
        Op::Detach { undos, .. } => {
            let mut failed = None;
            for undo in undos {
                // delPlugins() collects errors and goes on.
                let ended = del(bed, undo).await;
                failed = failed.or(ended.err().map(|error| (undo.network.clone(), error)));
            }
            (failed, Vec::new())
        }
        Op::CheckPod { pod, links } => {
            let checked = verify::verify(bed, links).await;
            (checked.err().map(|error| (pod.to_string(), error)), Vec::new())
        }
        other => {
            return Err(OpError {
                what: format!("carry out `{other}`"),
                errno: None,
                text: Some("it has no pod".into()),
            });
        }
    };
    Ok(Record::Pod { trial, op: number, failed, left })
}

/// The first failure, and what could not be taken back. DEL is run for the delegate that failed too (`CmdAdd()` of
/// Multus: "tear down all networks we already added").
async fn add(bed: &mut Testbed, parts: &[Part]) -> (Option<(String, OpError)>, Vec<OpError>) {
    for (position, part) in parts.iter().enumerate() {
        let Err(error) = all(bed, &part.ops).await else { continue };
        let mut left = Vec::new();
        for undo in parts[..=position].iter().rev().map(|part| &part.undo) {
            left.extend(del(bed, undo).await.err());
        }
        return (Some((part.network.clone(), error)), left);
    }
    (None, Vec::new())
}

async fn del(bed: &mut Testbed, undo: &Undo) -> Result<(), OpError> {
    match &undo.unless_gone {
        Some(device) if !links::exists(bed, device).await? => Ok(()),
        _ => all(bed, &undo.ops).await,
    }
}

async fn all(bed: &mut Testbed, ops: &[Op]) -> Result<(), OpError> {
    for op in ops {
        match op {
            Op::Route { ns, route } => addresses::prepend_route(bed, ns, route).await?,
            op => build::perform(bed, op).await?,
        }
    }
    Ok(())
}
