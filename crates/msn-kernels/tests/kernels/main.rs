//! Every operation over one table of cases, on every path that this processor has, against the plain
//! twins and against formulas written here on their own.

mod attention;
mod batch_norm;
mod elements;
mod gemm;
mod isa;
mod memory;
mod resize;
mod rows;
mod support;
mod threads;
