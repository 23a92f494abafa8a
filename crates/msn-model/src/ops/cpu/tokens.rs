//! Patches to sequences of tokens as one node of the autodiff graph.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use msn_kernels::zeros;
use rayon::prelude::*;

use super::graph::{Operation, Strategy, apply, contiguous, outside, slice, tensor};
use crate::View;
use crate::view::Kept;

/// Patches with their positions, each image led by its [CLS]; `None` where `patches` is not an `f32` tensor of the CPU
/// backend. patches: [P, D], cls: [1, D], positions: by side of the grid, [grid^2, D] -> [N, D]
pub(in crate::ops) fn tokens(
    patches: &Tensor<2>,
    cls: &Tensor<2>,
    positions: &BTreeMap<usize, Tensor<2>>,
    views: &[View],
) -> Option<Tensor<2>> {
    apply(Run { patches, cls, positions, views }, patches)
}

/// Where the tokens of all views come from. The table of positions is that of all grids, one after the other.
#[derive(Debug)]
struct Layout {
    views: Vec<ViewLayout>,
    /// Tokens N.
    tokens: usize,
    /// Patches P.
    patches: usize,
}

#[derive(Debug)]
struct ViewLayout {
    batch: usize,
    /// The number of patches n of an image.
    count: usize,
    /// The first of the view's tokens.
    first_token: usize,
    /// The first of the view's patches.
    first_patch: usize,
    /// Rows of the table of positions: [n] for all images, or [batch * n].
    places: Vec<usize>,
}

impl ViewLayout {
    /// The [CLS] token of an image, which its patches follow.
    fn cls(&self, image: usize) -> usize {
        self.first_token + image * (1 + self.count)
    }

    /// The rows of the table for an image: [n].
    fn places(&self, image: usize) -> &[usize] {
        let list = image % (self.places.len() / self.count);
        &self.places[list * self.count..][..self.count]
    }
}

impl Layout {
    fn of(views: &[View], positions: &BTreeMap<usize, Tensor<2>>) -> Self {
        let mut starts = BTreeMap::new();
        let mut rows = 0;
        for grid in positions.keys() {
            starts.insert(*grid, rows);
            rows += grid * grid;
        }
        let (mut tokens, mut patches) = (0, 0);
        let layout = |view: &View| {
            let (batch, count, start) = (view.batch, view.patches_per_image(), starts[&view.grid]);
            let places = match &view.kept {
                Kept::All => (start..start + count).collect(),
                Kept::Shared(kept) | Kept::PerImage(kept) => {
                    kept.iter().map(|&place| start + place as usize).collect()
                }
            };
            let layout = ViewLayout { batch, count, first_token: tokens, first_patch: patches, places };
            tokens += batch * (1 + count);
            patches += batch * count;
            layout
        };
        let views = views.iter().map(layout).collect();
        Self { views, tokens, patches }
    }

    /// The [CLS] tokens.
    fn cls(&self) -> impl Iterator<Item = usize> + '_ {
        self.views.iter().flat_map(|view| (0..view.batch).map(|image| view.cls(image)))
    }

    /// The tokens that each row of a table of `rows` positions is added to.
    fn tokens_of(&self, rows: usize) -> Vec<Vec<usize>> {
        let mut tokens = vec![Vec::new(); rows];
        for view in &self.views {
            for image in 0..view.batch {
                for (patch, &place) in view.places(image).iter().enumerate() {
                    tokens[place].push(view.cls(image) + 1 + patch);
                }
            }
        }
        tokens
    }
}

/// Tokens, about to be put together.
struct Run<'a> {
    patches: &'a Tensor<2>,
    cls: &'a Tensor<2>,
    positions: &'a BTreeMap<usize, Tensor<2>>,
    views: &'a [View],
}

impl Run<'_> {
    /// The positions of all grids: [T, D].
    fn table(&self) -> Tensor<2> {
        Tensor::cat(self.positions.values().cloned().collect(), 0)
    }

    fn layout(&self) -> Layout {
        Layout::of(self.views, self.positions)
    }
}

impl Operation for Run<'_> {
    type Output = Tensor<2>;

    fn outside_graph(self) -> Option<Tensor<2>> {
        let patches = outside(self.patches)?;
        let (cls, table) = (outside(self.cls)?, outside(&self.table())?);
        Some(Tensor::from_primitive::<Flex>(forward(&patches, &cls, &table, &self.layout())))
    }

    fn in_graph<C: Strategy>(self) -> Option<Tensor<2>> {
        let (patches, patches_node) = C::open(self.patches.clone())?.into_parts();
        let (cls, cls_node) = C::open(self.cls.clone())?.into_parts();
        let (table, table_node) = C::open(self.table())?.into_parts();
        let (table, layout) = (contiguous(table), self.layout());
        let y = forward(&contiguous(patches), &contiguous(cls), &table, &layout);
        let [table_rows, _] = table.layout().shape().dims();
        let node = (TokensBackward {}).prepare::<C>([patches_node, cls_node, table_node]);
        Some(C::close(match node.compute_bound().stateful() {
            OpsKind::UnTracked(prep) => prep.finish(y),
            OpsKind::Tracked(prep) => prep.finish(State { layout: Arc::new(layout), table_rows }, y),
        }))
    }
}

#[derive(Clone, Debug)]
struct State {
    layout: Arc<Layout>,
    /// Rows of the table T.
    table_rows: usize,
}

/// patches: [P, D], cls: [1, D], table: [T, D] -> [N, D]
fn forward(patches: &FlexTensor, cls: &FlexTensor, table: &FlexTensor, layout: &Layout) -> FlexTensor {
    let (patches, cls, table) = (slice(patches), slice(cls), slice(table));
    let dim = cls.len();
    let mut y = zeros(layout.tokens * dim);
    let mut rest = &mut y[..];
    for view in &layout.views {
        let length = (1 + view.count) * dim;
        let (of_view, others) = rest.split_at_mut(view.batch * length);
        rest = others;
        of_view.par_chunks_exact_mut(length).enumerate().for_each(|(image, sequence)| {
            let (first, others) = sequence.split_at_mut(dim);
            first.copy_from_slice(cls);
            let patches = &patches[(view.first_patch + image * view.count) * dim..];
            let rows = others.chunks_exact_mut(dim).zip(patches.chunks_exact(dim));
            for ((row, patch), place) in rows.zip(view.places(image)) {
                let position = &table[place * dim..][..dim];
                row.iter_mut()
                    .zip(patch)
                    .zip(position)
                    .for_each(|((row, patch), place)| *row = patch + place);
            }
        });
    }
    tensor(y, &[layout.tokens, dim])
}

/// Backward pass: the parents are the patches, [CLS] and the table of positions.
#[derive(Debug)]
struct TokensBackward {}

impl Backward<Flex, 3> for TokensBackward {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let State { layout, table_rows } = ops.state;
        let dy = contiguous(gradients.consume::<Flex>(&ops.node));
        let [_, dim] = dy.layout().shape().dims();
        let dy = slice(&dy);
        let [patches_parent, cls_parent, table_parent] = ops.parents;
        if let Some(parent) = patches_parent {
            let mut d_patches = zeros(layout.patches * dim);
            let mut rest = &mut d_patches[..];
            for view in &layout.views {
                let (of_view, others) = rest.split_at_mut(view.batch * view.count * dim);
                rest = others;
                of_view.par_chunks_exact_mut(view.count * dim).enumerate().for_each(|(image, rows)| {
                    rows.copy_from_slice(&dy[(view.cls(image) + 1) * dim..][..rows.len()]);
                });
            }
            gradients.register::<Flex>(parent.id, tensor(d_patches, &[layout.patches, dim]));
        }
        let add = |sum: &mut [f32], token: usize| {
            sum.iter_mut().zip(&dy[token * dim..][..dim]).for_each(|(sum, dy)| *sum += dy);
        };
        if let Some(parent) = cls_parent {
            let mut d_cls = zeros(dim);
            layout.cls().for_each(|token| add(&mut d_cls, token));
            gradients.register::<Flex>(parent.id, tensor(d_cls, &[1, dim]));
        }
        if let Some(parent) = table_parent {
            let mut d_table = zeros(table_rows * dim);
            let rows = d_table.par_chunks_exact_mut(dim).zip(layout.tokens_of(table_rows));
            rows.for_each(|(sum, tokens)| tokens.into_iter().for_each(|token| add(sum, token)));
            gradients.register::<Flex>(parent.id, tensor(d_table, &[table_rows, dim]));
        }
    }
}
