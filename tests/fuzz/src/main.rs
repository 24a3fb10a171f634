//! Writes the seeds of all targets, one file each, to a directory per target below the given one.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let Some(folder) = env::args_os().nth(1) else {
        eprintln!("usage: fuzz-seeds DIRECTORY");
        std::process::exit(2);
    };
    let targets = [
        ("share", p2pool_fuzz::share::seeds()),
        ("template", p2pool_fuzz::template::seeds()),
        ("stratum", p2pool_fuzz::stratum::seeds()),
        ("wire", p2pool_fuzz::wire::seeds()),
        ("sync", p2pool_fuzz::sync::seeds()),
    ];
    for (target, seeds) in targets {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:03}")), seed)?;
        }
    }
    Ok(())
}
