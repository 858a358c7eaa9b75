//! Saved machines that the cells of a matrix start from, made before them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::cli::matrix::Shared;
use crate::cli::progress::Items;
use bondlab_host::run::matrix::{Event, run_all};
use bondlab_host::run::runner;
use bondlab_host::run::runner::Unstarted;

/// A machine that did not start, or nothing.
pub type Ready = Result<(), Arc<Unstarted>>;

/// Saves the machines that cells start from, each once. Those missing in the result were interrupted.
pub(super) fn prepare(
    shared: &Arc<Shared>,
    jobs: usize,
    interrupt: &AtomicBool,
) -> BTreeMap<(usize, Vec<String>), Ready> {
    // One topology is run for all that share a machine.
    let mut machines: BTreeMap<(usize, Vec<String>), usize> = BTreeMap::new();
    for source in 0..shared.sources.len() {
        for kernel in (0..shared.kernels.len()).filter(|kernel| shared.is_own(source, *kernel)) {
            let modules = runner::machine_of(&shared.plan(source, kernel));
            machines.entry((kernel, modules)).or_insert(source);
        }
    }
    let list: Vec<(usize, usize)> = machines.iter().map(|((kernel, _), source)| (*kernel, *source)).collect();
    let names = list.iter().map(|(kernel, _)| format!("machine with {:16}", shared.kernels[*kernel].id));
    let mut items = Items::new("machines", names.collect());
    let mut begun: BTreeMap<usize, Instant> = BTreeMap::new();
    let worker = Arc::clone(shared);
    let work = move |&(kernel, source): &(usize, usize)| {
        if worker.why_not(source, kernel).is_some() {
            return Ok(None);
        }
        let machine = worker.bench.machine(worker.kernel(source, kernel));
        let (topology, plan) = (worker.topology(source, kernel), worker.plan(source, kernel));
        runner::prepare(topology, &plan, &machine).map_err(Arc::new)
    };
    let done = run_all(list, jobs, work, interrupt, |event| match event {
        Event::Started { index } => {
            begun.insert(index, Instant::now());
            items.started(index);
        }
        Event::Finished { index, result } => {
            let word = match result {
                Ok(Ok(None)) => "ready".to_owned(),
                Ok(Ok(Some(note))) => note.clone(),
                Ok(Err(error)) => error.to_string().lines().next().unwrap_or_default().to_owned(),
                Err(panic) => format!("the lab failed: {panic}"),
            };
            let seconds = begun[&index].elapsed().as_secs_f64();
            items.finished(index, &word, seconds, matches!(result, Ok(Ok(_))));
        }
        Event::Tick => {}
    });
    let ready = done.results.into_iter().map(|result| {
        Some(match result? {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error),
            // The cells try for themselves, and say what happens there.
            Err(_) => Ok(()),
        })
    });
    machines.into_keys().zip(ready).filter_map(|(key, ready)| Some((key, ready?))).collect()
}
