//! The machine that a pickle is a program for: a stack of values, marks on it, and a memo.

use std::collections::HashMap;

use super::bytes::Bytes;
use super::value::{Callable, Heap, Object, Value};
use super::{MAX_VALUES, PickleError, globals};

pub(super) struct Machine<'a> {
    bytes: Bytes<'a>,
    stack: Vec<Value<'a>>,
    /// Heights of the stack where groups of values begin.
    marks: Vec<usize>,
    memo: HashMap<u64, Value<'a>>,
    heap: Heap<'a>,
    /// Values made so far: whatever takes memory counts.
    made: usize,
}

type Step<T = ()> = Result<T, PickleError>;

impl<'a> Machine<'a> {
    pub(super) fn new(pickle: &'a [u8]) -> Self {
        Self {
            bytes: Bytes::new(pickle),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            heap: Heap::default(),
            made: 0,
        }
    }

    /// Runs to the end of the program. Returns its result, the objects it refers to, and the pickle's length in bytes.
    pub(super) fn run(mut self) -> Step<(Value<'a>, Heap<'a>, usize)> {
        loop {
            match self.bytes.instruction()? {
                b'.' => {
                    let result = self.pop()?;
                    return Ok((result, self.heap, self.bytes.position()));
                }
                instruction => self.step(instruction)?,
            }
        }
    }

    /// The instructions have their names in Python's `pickletools`.
    fn step(&mut self, instruction: u8) -> Step {
        match instruction {
            // PROTO, FRAME: nothing to do.
            0x80 => self.bytes.take(1).map(drop),
            0x95 => self.bytes.take(8).map(drop),
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'K' | b'M' | b'J' | 0x8a | 0x8b => self.number(instruction),
            b'G' => {
                self.bytes.take(8)?;
                self.push(Value::Float)
            }
            b'X' | 0x8c | 0x8d | b'U' | b'T' | b'C' | b'B' | 0x8e | 0x96 => self.text(instruction),
            b'(' => {
                self.count(1)?;
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => self.pop().map(drop),
            b'1' => self.pop_to_mark().map(drop),
            b'2' => {
                let top = self.top()?;
                self.push(top)
            }
            b')' | 0x85..=0x87 | b't' | b']' | b'}' | 0x8f | 0x91 => self.container(instruction),
            b'a' | b'e' | b's' | b'u' | 0x90 => self.fill(instruction),
            b'h' | b'j' | b'q' | b'r' | 0x94 => self.memo(instruction),
            b'c' | 0x93 | b'Q' | b'R' | 0x81 | 0x92 | b'b' => self.object(instruction),
            found => Err(PickleError::Instruction { at: self.bytes.at, found }),
        }
    }

    /// BININT1, BININT2, BININT, LONG1, LONG4.
    fn number(&mut self, instruction: u8) -> Step {
        let value = match instruction {
            b'K' => Value::Int(self.bytes.array::<1>()?[0].into()),
            b'M' => Value::Int(u16::from_le_bytes(self.bytes.array()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(self.bytes.array()?).into()),
            _ => {
                let bytes = self.bytes.counted(if instruction == 0x8a { 1 } else { 4 })?;
                let negative = bytes.last().is_some_and(|&last| last >= 0x80);
                let mut whole = if negative { [0xff; 8] } else { [0; 8] };
                match whole.get_mut(..bytes.len()) {
                    Some(low) => {
                        low.copy_from_slice(bytes);
                        Value::Int(i64::from_le_bytes(whole))
                    }
                    None => Value::Bytes(bytes),
                }
            }
        };
        self.push(value)
    }

    /// BINUNICODE, SHORT_BINUNICODE, BINUNICODE8; SHORT_BINSTRING and BINSTRING, the strings of Python 2; the bytes.
    fn text(&mut self, instruction: u8) -> Step {
        let width = match instruction {
            0x8c | b'U' | b'C' => 1,
            b'X' | b'T' | b'B' => 4,
            _ => 8,
        };
        let bytes = self.bytes.counted(width)?;
        let is_bytes = matches!(instruction, b'C' | b'B' | 0x8e | 0x96);
        let text = if is_bytes { None } else { std::str::from_utf8(bytes).ok() };
        self.push(text.map_or(Value::Bytes(bytes), Value::Text))
    }

    /// EMPTY_TUPLE, TUPLE1 to TUPLE3, TUPLE; EMPTY_LIST, EMPTY_DICT; EMPTY_SET and FROZENSET.
    fn container(&mut self, instruction: u8) -> Step {
        let object = match instruction {
            b')' => Object::Tuple(Vec::new()),
            b't' => Object::Tuple(self.pop_to_mark()?),
            b']' => Object::List(Vec::new()),
            b'}' => Object::Dict(Vec::new()),
            0x8f => return self.push(Value::Inert),
            0x91 => {
                self.pop_to_mark()?;
                return self.push(Value::Inert);
            }
            _ => {
                let mut items = (0x85..=instruction).map(|_| self.pop()).collect::<Step<Vec<_>>>()?;
                items.reverse();
                Object::Tuple(items)
            }
        };
        let value = self.heap.add(object);
        self.push(value)
    }

    /// APPEND, APPENDS, SETITEM, SETITEMS, ADDITEMS: adds what lies above a container to it.
    fn fill(&mut self, instruction: u8) -> Step {
        let items = match instruction {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_to_mark()?,
        };
        // They stay in memory a second time, in the container.
        self.count(items.len())?;
        let container = self.top()?;
        let found = match container {
            Value::Inert => return Ok(()),
            Value::Object(id) => self.heap.get_mut(id),
            other => return self.wrong("a container", other),
        };
        match (found, instruction) {
            (Object::List(list), b'a' | b'e') => list.extend(items),
            (Object::Dict(entries), b's' | b'u') if items.len().is_multiple_of(2) => {
                entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            }
            _ => return self.wrong("a list, or a dictionary and pairs", container),
        }
        Ok(())
    }

    /// BINGET, LONG_BINGET; BINPUT, LONG_BINPUT, MEMOIZE.
    fn memo(&mut self, instruction: u8) -> Step {
        let index = match instruction {
            b'h' | b'q' => u64::from(self.bytes.array::<1>()?[0]),
            b'j' | b'r' => u64::from(u32::from_le_bytes(self.bytes.array()?)),
            _ => self.memo.len() as u64,
        };
        if matches!(instruction, b'h' | b'j') {
            let remembered = self.memo.get(&index).copied();
            let missing = || PickleError::Operand {
                at: self.bytes.at,
                expected: "something remembered before",
                found: format!("nothing under the number {index}"),
            };
            let value = remembered.ok_or_else(missing)?;
            return self.push(value);
        }
        self.count(1)?;
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    /// GLOBAL, STACK_GLOBAL; BINPERSID; REDUCE, NEWOBJ, NEWOBJ_EX; BUILD.
    fn object(&mut self, instruction: u8) -> Step {
        let at = self.bytes.at;
        let value = match instruction {
            b'c' => {
                let (module, name) = (self.bytes.line()?, self.bytes.line()?);
                Value::Callable(globals::find(at, module, name)?)
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => {
                    Value::Callable(globals::find(at, module.as_bytes(), name.as_bytes())?)
                }
                (_, other) => return self.wrong("the names of a module and of something in it", other),
            },
            b'Q' => {
                let id = self.pop()?;
                let storage = globals::storage(at, id, &self.heap)?;
                self.heap.add(Object::Storage(storage))
            }
            b'b' => {
                // Sets attributes of an object, such as the version of a state_dict: nothing that tensors need.
                self.pop()?;
                return self.top().map(drop);
            }
            _ => {
                if instruction == 0x92 {
                    // Named arguments.
                    self.pop()?;
                }
                let (arguments, callable) = (self.pop()?, self.pop()?);
                if let (Value::Callable(Callable::Dict), Some(&[pairs])) =
                    (callable, self.heap.sequence(arguments))
                {
                    let copied = self.heap.sequence(pairs).map_or(0, <[_]>::len);
                    self.count(copied)?;
                }
                globals::call(at, callable, arguments, &mut self.heap)?
            }
        };
        self.push(value)
    }

    fn push(&mut self, value: Value<'a>) -> Step {
        self.count(1)?;
        self.stack.push(value);
        Ok(())
    }

    /// Not from below the last mark.
    fn pop(&mut self) -> Step<Value<'a>> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn top(&self) -> Step<Value<'a>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = self.stack[floor..].last().copied();
        top.ok_or_else(|| self.missing("a value on the stack"))
    }

    /// Takes everything above the last mark, and the mark.
    fn pop_to_mark(&mut self) -> Step<Vec<Value<'a>>> {
        let floor = self.marks.pop().ok_or_else(|| self.missing("a mark on the stack"))?;
        let items = self.stack.split_off(floor);
        self.count(items.len())?;
        Ok(items)
    }

    fn count(&mut self, more: usize) -> Step {
        self.made += more;
        if self.made > MAX_VALUES {
            let (what, limit) = ("values in a checkpoint's pickle", MAX_VALUES);
            return Err(PickleError::TooMuch { at: self.bytes.at, what, limit });
        }
        Ok(())
    }

    fn missing(&self, expected: &'static str) -> PickleError {
        PickleError::Operand { at: self.bytes.at, expected, found: "none".to_owned() }
    }

    fn wrong<T>(&self, expected: &'static str, found: Value<'a>) -> Step<T> {
        Err(PickleError::Operand { at: self.bytes.at, expected, found: self.heap.describe(found) })
    }
}
