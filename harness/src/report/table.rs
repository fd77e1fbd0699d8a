//! Aligned columns for a terminal.

use std::fmt;

/// Rows of cells; columns are as wide as their widest cell.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<usize>,
}

impl Table {
    /// A table with these headings; the columns in `right` are aligned to the right.
    pub fn new<const N: usize>(headings: [&str; N], right: &[usize]) -> Table {
        Table {
            rows: vec![headings.map(String::from).to_vec()],
            right: right.to_vec(),
        }
    }

    /// A table of these rows, all columns aligned to the left.
    pub fn of(rows: Vec<Vec<String>>) -> Table {
        Table {
            rows,
            right: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    /// Adds a row of as many cells as there happen to be.
    pub fn push(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                if self.right.contains(&column) {
                    line.push_str(&format!("{cell:>width$}  "));
                } else {
                    line.push_str(&format!("{cell:<width$}  "));
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["name", "n", "what"], &[1]);
        table.row(["a".into(), "10".into(), "x".into()]);
        table.row(["long".into(), "5".into(), String::new()]);
        assert_eq!(table.to_string(), "name   n  what\na     10  x\nlong   5\n");
        let uneven = vec![vec!["a".into(), "b c".into()], vec!["end".into()], vec![]];
        assert_eq!(Table::of(uneven).to_string(), "a    b c\nend\n\n");
    }
}
