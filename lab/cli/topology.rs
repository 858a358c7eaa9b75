//! `lab topology` and `lab schema`: look at a topology file without running it, and at what one may have.

use std::path::PathBuf;
use std::process::ExitCode;

use bondlab_core::plan::lower::lower;
use bondlab_core::report::drawing::{Structure, dot, mermaid, svg, tree};
use bondlab_core::report::reference;
use bondlab_core::topology::Topology;
use clap::{Args, Subcommand, ValueEnum};

use crate::cli::failure::Failure;
use crate::cli::{lint, run};

/// Shown by `--help`.
pub const EXAMPLES: &str = "\
Examples:
  lab topology check topologies/vlan-over-bond-tx-drop.toml
  lab topology show topologies/vlan-over-bond-tx-drop.toml
  lab topology graph topologies/vlan-over-bond-tx-drop.toml --format svg > picture.svg";

/// Arguments of `lab topology`.
#[derive(Debug, Args)]
pub struct TopologyArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find all mistakes of a file; nothing is run
    Check {
        /// A topology file
        topology: PathBuf,
    },
    /// Print the plan, one operation per line
    Show {
        /// A topology file
        topology: PathBuf,
    },
    /// Draw namespaces, devices and cables
    Graph {
        /// A topology file
        topology: PathBuf,
        /// How to draw it
        #[arg(long, value_enum, default_value_t = Drawing::Text)]
        format: Drawing,
    },
}

/// Arguments of `lab schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// How to print it
    #[arg(long, value_enum, default_value_t = Form::Json)]
    format: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A JSON Schema, for editors
    Json,
    /// The reference, for people
    Markdown,
}

/// Prints what topology files may have.
///
/// # Errors
/// None yet.
pub fn schema(args: &SchemaArgs) -> Result<ExitCode, Failure> {
    let schema = Topology::schema();
    match args.format {
        Form::Json => println!("{}", serde_json::to_string_pretty(&schema).expect("a schema is JSON")),
        Form::Markdown => {
            let schema = serde_json::to_value(&schema).expect("a schema is JSON");
            print!("{}", reference::render(&schema));
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Drawing {
    /// A tree
    Text,
    /// A picture
    Svg,
    /// A flowchart of Mermaid
    Mermaid,
    /// A graph of Graphviz
    Dot,
}

/// Does what the arguments say.
///
/// # Errors
/// The file cannot be read, or has mistakes.
pub fn topology(args: &TopologyArgs) -> Result<ExitCode, Failure> {
    match &args.command {
        Command::Check { topology } => {
            let (all, findings) = run::read_and_lint(topology)?;
            for topology in all {
                let (links, steps) = (topology.links.len(), topology.scenario.steps.len());
                println!("{}: no mistakes; {links} links, {steps} steps", topology.name);
            }
            for finding in &findings {
                println!("{}", lint::shown(finding));
            }
        }
        Command::Show { topology } => {
            run::read_variants(topology, &[])?.0.iter().for_each(|topology| print!("{}", lower(topology)));
        }
        Command::Graph { topology, format } => {
            let topology = run::read(topology)?;
            let structure = Structure::of(&topology);
            let drawing = match format {
                Drawing::Text => tree::render(&structure, |_, text| text.to_owned()),
                Drawing::Svg => svg::file(&structure),
                Drawing::Mermaid => mermaid::render(&structure),
                Drawing::Dot => dot::render(&topology.name, &structure),
            };
            print!("{drawing}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
