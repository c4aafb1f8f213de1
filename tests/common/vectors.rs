//! Other people's messages, from the folder of the project's shared data beside the repository.

use std::path::Path;
use std::path::PathBuf;

use super::say;

/// The folder with the project's shared data, or the one that `FACTEUR_SHARED` names.
pub(crate) fn shared() -> PathBuf {
    std::env::var_os("FACTEUR_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from)
}

/// Odd and usual messages with their names, in the order of these; `None`, and a word about it, where there are none.
pub(crate) fn messages() -> Option<Vec<(String, Vec<u8>)>> {
    let root = shared().join("vectors");
    let mut all = Vec::new();
    for folder in ["mime/mail-parser/resources/eml", "dkim"] {
        collect(&root.join(folder), &mut all);
    }
    if all.is_empty() {
        say("SKIPPED: the shared vectors are not on this machine (FACTEUR_SHARED)");
        return None;
    }
    for file in ["arc-draft-validation-tests", "arc-draft-sign-tests"] {
        let text = std::fs::read_to_string(root.join(format!("arc/{file}.yml"))).unwrap_or_default();
        all.extend(of_yaml(&text).map(|(name, message)| (format!("{file}/{name}"), message)));
    }
    all.sort();
    // The tests of ARC repeat themselves.
    let mut seen = std::collections::HashSet::new();
    all.retain(|(_, message)| seen.insert(message.clone()));
    Some(all)
}

/// The messages below a folder, named by folder and file.
fn collect(folder: &Path, all: &mut Vec<(String, Vec<u8>)>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, all);
        } else if path.extension().is_some_and(|e| e == "eml" || e == "msg") {
            let part = |path: &Path| path.file_name().expect("it has one").to_string_lossy().into_owned();
            all.push((format!("{}/{}", part(folder), part(&path)), std::fs::read(&path).expect("it can be read")));
        }
    }
}

/// The block scalars named `message`, which is all of YAML that is needed, with the names of their tests.
fn of_yaml(text: &str) -> impl Iterator<Item = (String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut name = String::new();
    let mut message: Option<String> = None;
    for line in text.lines().chain(["end"]) {
        let inside = line.is_empty() || line.starts_with("      ");
        if let Some(text) = message.as_mut().filter(|_| inside) {
            *text += line.get(6..).unwrap_or_default();
            text.push('\n');
            continue;
        }
        if let Some(text) = message.take() {
            all.push((name.clone(), (text.trim_end_matches('\n').to_owned() + "\n").into_bytes()));
        }
        match line.strip_prefix("  ").and_then(|l| l.strip_suffix(':')) {
            Some(test) if !test.starts_with(' ') => test.clone_into(&mut name),
            _ if line.starts_with("    message:") && line.ends_with('|') => message = Some(String::new()),
            _ => {}
        }
    }
    all.into_iter()
}
