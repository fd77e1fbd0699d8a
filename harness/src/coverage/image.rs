//! A kernel's image: which blocks it has, and which source lines they are.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian, SectionId};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use super::sites::{self, Calls, Span, Text};

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// What an instrumented block calls.
const TRACER: &str = "__sanitizer_cov_trace_pc";

/// Why an image says nothing.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The image.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no executable.
    #[error("{} is no kernel for User Mode Linux", path.display())]
    Elf {
        /// The image.
        path: PathBuf,
        /// What is wrong with it.
        source: object::Error,
    },
    /// Its code is not counted.
    #[error("{}: this kernel counts none of its code; one with -kcov does", .0.display())]
    NotCounted(PathBuf),
    /// The lines of its code are not to be had.
    #[error("cannot read the debugging information of {}", path.display())]
    Debug {
        /// The image.
        path: PathBuf,
        /// What is wrong with it.
        source: addr2line::gimli::Error,
    },
}

/// The image of a kernel that counts its code.
#[derive(Debug)]
pub struct Image {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Says which kernel it is: equal for two whose code is equal, at equal addresses.
    pub identity: String,
    /// The address of each block that can be counted, ascending: that to which its call
    /// returns.
    pub sites: Vec<u64>,
    /// What else runs when they do.
    spans: Vec<Span>,
}

/// A function of the source, with what is inlined into it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Function {
    /// The file that it stands in, from the root of the source.
    pub file: String,
    /// Its name.
    pub name: String,
}

/// One place of a block: of several, each is inlined into the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Index into [`Blocks::functions`].
    pub function: usize,
    /// The line at which the block begins, or at which the function before is called.
    pub line: u32,
}

/// A block: the address, and where it is in the source; the innermost function first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// As it is noted when it runs.
    pub pc: u64,
    /// Where it is in the source.
    pub frames: Vec<Frame>,
}

/// All blocks of an image.
#[derive(Debug, Clone, Default)]
pub struct Blocks {
    /// The functions that have any.
    pub functions: Vec<Function>,
    /// By address.
    pub blocks: Vec<Block>,
    /// Files of the source, from its root.
    pub files: Vec<String>,
    /// Lines that have code which runs with a block: index into `files`, line, and the
    /// address of the block.
    pub through: Vec<(usize, u32, u64)>,
    /// Functions that have code which runs with a block that begins elsewhere, as one does
    /// that is inlined where no block begins: index into `functions`, and the address.
    pub entered: Vec<(usize, u64)>,
}

impl Image {
    /// Reads it, and finds its blocks.
    ///
    /// # Errors
    /// There are none, or no image.
    pub fn read(path: &Path) -> Result<Image, ImageError> {
        let bytes = std::fs::read(path).map_err(|source| ImageError::Io {
            path: path.to_owned(),
            source,
        })?;
        let elf = |source| ImageError::Elf {
            path: path.to_owned(),
            source,
        };
        let (identity, calls) = find(path, &bytes).map_err(elf)??;
        Ok(Image {
            path: path.to_owned(),
            bytes,
            identity,
            sites: calls.sites,
            spans: calls.spans,
        })
    }

    /// Looks all of them up in the debugging information.
    ///
    /// # Errors
    /// There is none.
    pub fn blocks(&self) -> Result<Blocks, ImageError> {
        let file = object::File::parse(&*self.bytes).map_err(|source| ImageError::Elf {
            path: self.path.clone(),
            source,
        })?;
        let debug = |source| ImageError::Debug {
            path: self.path.clone(),
            source,
        };
        let section = |id: SectionId| {
            let section = file.section_by_name(id.name());
            let data = section.and_then(|it| it.data().ok()).unwrap_or_default();
            Ok(EndianSlice::new(data, LittleEndian))
        };
        let dwarf = Dwarf::load(section).map_err(debug)?;
        let root = root(&dwarf).map_err(debug)?;
        let context = addr2line::Context::from_dwarf(dwarf).map_err(debug)?;
        let mut names = Names::new(root);
        let mut blocks = Vec::with_capacity(self.sites.len());
        for &pc in &self.sites {
            // The call itself is before the address to which it returns.
            let frames = frames(&context, pc - 1, &mut names).map_err(debug)?;
            blocks.push(Block { pc, frames });
        }
        let (mut through, mut entered) = (Vec::new(), Vec::new());
        for span in &self.spans {
            let rows = context.find_location_range(span.from, span.to);
            for (at, _, place) in rows.map_err(debug)? {
                if let (Some(file), Some(line)) = (place.file, place.line) {
                    through.push((names.file(file), line, span.site));
                }
                let inside = frames(&context, at, &mut names).map_err(debug)?;
                entered.extend(inside.iter().map(|it| (it.function, span.site)));
            }
        }
        through.sort_unstable();
        through.dedup();
        entered.sort_unstable();
        entered.dedup();
        Ok(Blocks {
            functions: names.functions,
            blocks,
            files: names.files,
            through,
            entered,
        })
    }
}

/// Finds the blocks of an image, and what says which one it is.
fn find(path: &Path, bytes: &[u8]) -> Result<Result<(String, Calls), ImageError>, object::Error> {
    let file = object::File::parse(bytes)?;
    let symbol = |name| file.symbols().find(|it| it.name() == Ok(name));
    let address = |name| symbol(name).map(|it| it.address());
    let (Some(tracer), Some(text)) = (address(TRACER), file.section_by_name(".text")) else {
        return Ok(Err(ImageError::NotCounted(path.to_owned())));
    };
    let code = text.data()?;
    let range = text.address()..text.address() + code.len() as u64;
    let symbols = file.symbols().map(|it| it.address());
    let mut starts: Vec<u64> = symbols.filter(|it| range.contains(it)).collect();
    starts.sort_unstable();
    starts.dedup();
    let text = Text {
        base: range.start,
        bytes: code,
        starts: &starts,
    };
    let mut calls = sites::calls(tracer, &text);
    // Only what lies between these is noted.
    let noted = address("_stext").unwrap_or(0)..address("_etext").unwrap_or(u64::MAX);
    calls.sites.retain(|it| noted.contains(it));
    calls.spans.retain(|it| noted.contains(&it.site));
    let identity = blake3::hash(code).to_hex()[..16].to_owned();
    Ok(Ok((identity, calls)))
}

/// Where an instruction is in the source.
fn frames(
    context: &addr2line::Context<Slice<'_>>,
    address: u64,
    names: &mut Names,
) -> Result<Vec<Frame>, addr2line::gimli::Error> {
    let mut found = Vec::new();
    let mut frames = context.find_frames(address).skip_all_loads()?;
    while let Some(frame) = frames.next()? {
        let (Some(function), Some(place)) = (&frame.function, &frame.location) else {
            continue;
        };
        if let (Ok(name), Some(file), Some(line)) = (function.raw_name(), place.file, place.line) {
            found.push(Frame {
                function: names.function(file, &name),
                line,
            });
        }
    }
    Ok(found)
}

/// The folder that the kernel was compiled in.
fn root(dwarf: &Dwarf<Slice<'_>>) -> Result<String, addr2line::gimli::Error> {
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        let unit = dwarf.unit(header)?;
        if let Some(folder) = unit.comp_dir {
            return Ok(folder.to_string_lossy().into_owned());
        }
    }
    Ok(String::new())
}

/// Files and functions, each once.
struct Names {
    root: String,
    files: Vec<String>,
    functions: Vec<Function>,
    /// By the path as the debugging information has it.
    by_path: HashMap<String, usize>,
    by_name: HashMap<(usize, String), usize>,
}

impl Names {
    fn new(root: String) -> Names {
        Names {
            root,
            files: Vec::new(),
            functions: Vec::new(),
            by_path: HashMap::new(),
            by_name: HashMap::new(),
        }
    }

    fn file(&mut self, path: &str) -> usize {
        if let Some(&index) = self.by_path.get(path) {
            return index;
        }
        let file = relative(path, &self.root);
        // Several paths lead to one.
        let known = self.files.iter().position(|it| *it == file);
        let index = known.unwrap_or_else(|| {
            self.files.push(file);
            self.files.len() - 1
        });
        self.by_path.insert(path.to_owned(), index);
        index
    }

    fn function(&mut self, path: &str, name: &str) -> usize {
        let file = self.file(path);
        let key = (file, name.to_owned());
        if let Some(&index) = self.by_name.get(&key) {
            return index;
        }
        self.functions.push(Function {
            file: self.files[file].clone(),
            name: name.to_owned(),
        });
        self.by_name.insert(key, self.functions.len() - 1);
        self.functions.len() - 1
    }
}

/// A file's path from the root of the source: without `.` and `..`.
fn relative(file: &str, root: &str) -> String {
    let inside = file.strip_prefix(root).unwrap_or(file);
    let mut parts = Vec::new();
    for part in inside.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_at_the_root_of_the_source() {
        for (file, expected) in [
            ("/a/linux/net/ipv4/tcp.c", "net/ipv4/tcp.c"),
            ("/a/linux/./include/net/tcp.h", "include/net/tcp.h"),
            (
                "/a/linux/arch/x86/um/../include/asm/a.h",
                "arch/x86/include/asm/a.h",
            ),
            ("net/core/sock.c", "net/core/sock.c"),
        ] {
            assert_eq!(relative(file, "/a/linux"), expected);
        }
    }
}
