// SPDX-License-Identifier: Apache-2.0
//
// Tracer `callgraph`: the merged call tree with exact counts. It hooks no return. A frame is over
// when another function is entered whose return address is at the same place on the stack or above
// it, so the entries alone are enough to build the tree:
//
//   frames   { root } { main, node } { f, node } { g, node }  <- top
//   entry    remove the frames at or below the new one; count the child of the frame that remains
//
// callgraph.S does this where it finds the child among its parent's `known`: the children that were
// called last, one for each value of the low bits of a function's number. This file handles the
// other cases. The counts are in the arena.

#include "agent.h"
#include "syscalls.h"

typedef struct nag_node {
  nrec_tree_node *shared;
  uint32_t function, index;
  struct nag_node *child, *sibling, *older;
  struct nag_node *known[NAG_KNOWN];  ///< `nothing` where there is none
} nag_node;

typedef struct nag_frame {
  uint64_t location;
  nag_node *node;
} nag_frame;

typedef struct node_block {
  struct node_block *older;
  nag_node nodes[];
} node_block;

typedef struct nag_tree {
  nag_node nothing, *root, *newest;
  nag_node *fresh, *fresh_end;
  node_block *blocks;
  nrec_tree_node *shared, *shared_end;
  uint32_t count;
  nag_frame frames[];
} nag_tree;

NAG_SAME(offsetof(nag_node, known), NAG_NODE_KNOWN);
NAG_SAME(offsetof(nag_node, shared), NAG_NODE_SHARED);
NAG_SAME(offsetof(nag_node, function), NAG_NODE_FUNCTION);

enum { FRAMES = 1 << 16, NODE_BYTES = 1 << 16, SHARED_NODES = 4096 };
#define TREE_BYTES nag_whole_pages(sizeof(nag_tree) + FRAMES * sizeof(nag_frame))

static nag_node *make_node(nag_buffer *buffer, nag_node *parent, uint32_t function) {
  nag_tree *tree = buffer->tree;
  if (tree->fresh == tree->fresh_end) {
    node_block *block = nag_pages(NODE_BYTES);
    if (block == NULL) return NULL;
    block->older = tree->blocks;
    tree->blocks = block;
    tree->fresh = block->nodes;
    tree->fresh_end = tree->fresh + (NODE_BYTES - sizeof *block) / sizeof(nag_node);
  }
  if (tree->shared == tree->shared_end) {
    // The nodes of a chunk end exactly at its end, so that the next chunk continues the array.
    size_t room = SHARED_NODES * sizeof(nrec_tree_node) - sizeof(nrec_chunk_header);
    tree->shared = (nrec_tree_node *)nag_chunk_make(buffer, room, false);
    tree->shared_end = tree->shared ? tree->shared + room / sizeof(nrec_tree_node) : NULL;
    if (tree->shared == NULL) return NULL;
  }
  nag_node *node = tree->fresh++;
  // The pages are fresh: what is not set here is zero.
  node->shared = tree->shared++;
  node->function = function;
  node->index = tree->count++;
  for (int i = 0; i < NAG_KNOWN; i++) node->known[i] = &tree->nothing;
  node->older = tree->newest;
  tree->newest = node;
  node->shared->function = function;
  node->shared->parent = parent ? parent->index : 0;
  if (parent != NULL) {
    node->sibling = parent->child;
    parent->child = node;
  }
  return node;
}

static bool begin(nag_buffer *buffer) {
  // A tree without space for its first node exists already, and is tried again.
  nag_tree *tree = buffer->tree ? buffer->tree : nag_pages(TREE_BYTES);
  if (tree == NULL) return false;
  buffer->tree = tree;
  tree->nothing.function = ~0u;
  tree->root = make_node(buffer, NULL, ~0u);
  if (tree->root == NULL) return false;
  nag_find_stack();
  buffer->stack_low = nag_self.stack_low;
  buffer->stack_size = nag_self.stack_high - nag_self.stack_low;
  tree->frames[0] = (nag_frame){~0ull, tree->root};
  buffer->tree_end = tree->frames + FRAMES;
  buffer->tree_top = tree->frames;
  return true;
}

static nag_node *known_child(nag_node *parent, uint32_t function) {
  nag_node *node = parent->child;
  while (node != NULL && node->function != function) node = node->sibling;
  if (node != NULL) parent->known[function % NAG_KNOWN] = node;
  return node;
}

static nag_node *child_of(nag_buffer *buffer, nag_node *parent, uint32_t function) {
  nag_node *node = known_child(parent, function);
  return node != NULL ? node : make_node(buffer, parent, function);
}

// The most common of the cases that callgraph.S leaves to C: another child has replaced this one
// among the known ones. Signals need not be blocked, because a signal handler's own calls find
// consistent data: frames above the top are free, the count is one instruction, and the list of
// children grows only at its head.
static bool enter_known(nag_buffer *buffer, uint32_t function, uint64_t location) {
  if (buffer == NULL || buffer->tree_top == NULL ||
      location - buffer->stack_low >= buffer->stack_size)
    return false;
  nag_frame *top = buffer->tree_top;
  while (top->location <= location) top--;
  nag_node *node = known_child(top->node, function);
  if (node == NULL || top + 1 >= buffer->tree_end) return false;
  __asm__ volatile("incq %0" : "+m"(node->shared->calls) : : "cc");
  top[1] = (nag_frame){location, node};
  buffer->tree_top = top + 1;
  return true;
}

void nag_enter_callgraph(uint32_t function, uint64_t *at) {
  if (enter_known(nag_self.buffer, function, (uint64_t)at)) return;
  uint64_t signals = nag_block_signals(), location = (uint64_t)at;
  nag_buffer *buffer = nag_thread_buffer();
  if (buffer != NULL && buffer->tree_top == NULL && !begin(buffer)) {
    nag_lose(1);
  } else if (buffer != NULL) {
    bool is_own = location - buffer->stack_low < buffer->stack_size;
    nag_frame *top = is_own ? buffer->tree_top : buffer->tree->frames;
    while (top->location <= location) top--;
    nag_node *node = child_of(buffer, top->node, function);
    if (node == NULL) nag_lose(1);
    else node->shared->calls++;
    if (node != NULL && is_own && top + 1 < buffer->tree_end) {
      top[1] = (nag_frame){location, node};
      buffer->tree_top = top + 1;
    }
  }
  nag_restore_signals(signals);
}

uint64_t nag_callgraph_calls(const nag_buffer *buffer) {
  if (buffer->tree == NULL) return 0;
  uint64_t calls = 0;
  // Newest first; each node was made after its parent. A list can be walked without a stack.
  for (const nag_node *node = buffer->tree->newest; node != NULL; node = node->older)
    calls += node->shared->calls;
  return calls;
}

uint64_t nag_callgraph_finish(nag_buffer *buffer) {
  uint64_t calls = nag_callgraph_calls(buffer);
  nag_tree *tree = buffer->tree;
  buffer->tree_top = NULL;
  buffer->tree = NULL;
  for (node_block *one = tree ? tree->blocks : NULL, *older; one != NULL; one = older) {
    older = one->older;
    nag_unmap(one, NODE_BYTES);
  }
  if (tree != NULL) nag_unmap(tree, TREE_BYTES);
  buffer->stack_size = 0;
  nag_chunks_finish(buffer);
  return calls;
}
