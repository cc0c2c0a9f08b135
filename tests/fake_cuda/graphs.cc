// Graphs: captured operations, submitted again at each launch.
#include <algorithm>
#include <unordered_map>

#include "tests/fake_cuda/internal.h"
#include "tests/fake_cuda/streams.h"

struct CUgraph_st {
  fake_cuda::Operations nodes;  // each after all that it waits for
};

struct CUgraphExec_st {
  fake_cuda::Operations nodes;
  fake_cuda::Operations last_launch = {};  // launches of the same graph run one after the other
};

namespace fake_cuda {
namespace {

struct Graphs {
  Registry<CUgraph_st> graphs{"graph"};
  Registry<CUgraphExec_st> executables{"executable graph"};
  int64_t made = 0;  // executables, since reset
};

Graphs& graphs() {
  static Graphs& instance = *new Graphs;
  return instance;
}

// Operations for one launch: nodes that wait for no other wait for `before`. Returns those that no
// other waits for.
Operations submit_nodes(const Operations& nodes, const Operations& before) {
  std::unordered_map<const Operation*, std::shared_ptr<Operation>> launched;
  Operations ends;
  for (const std::shared_ptr<Operation>& node : nodes) {
    auto operation = std::make_shared<Operation>(*node);
    for (std::shared_ptr<Operation>& earlier : operation->after) {
      earlier = launched.at(earlier.get());
      std::erase(ends, earlier);
    }
    if (operation->after.empty()) operation->after = before;
    launched.emplace(node.get(), operation);
    ends.push_back(operation);
    submit(operation);
    if (operation->event) record_event(operation);
  }
  return ends;
}

cudaError_t launch(CUgraphExec_st& executable, CUstream_st& stream) {
  if (stream.capture) {  // a graph within a graph
    stream.capture->invalid = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  if (executable.nodes.empty()) return cudaSuccess;
  Operations before = stream.tail;
  before.insert(before.end(), executable.last_launch.begin(), executable.last_launch.end());
  stream.tail = submit_nodes(executable.nodes, before);
  executable.last_launch = stream.tail;
  return cudaSuccess;
}

}  // namespace

cudaGraph_t make_graph(Operations nodes) {
  return graphs().graphs.add(std::make_unique<CUgraph_st>(CUgraph_st{std::move(nodes)}));
}

void reset_graphs() {
  graphs().graphs.reset();
  graphs().executables.reset();
  graphs().made = 0;
}

int64_t graph_count() {
  const std::lock_guard lock(mutex());
  return graphs().made;
}

}  // namespace fake_cuda

using fake_cuda::call;
using fake_cuda::graphs;

cudaError_t cudaGraphGetNodes(cudaGraph_t handle, cudaGraphNode_t* nodes, size_t* count) {
  return call(cudaErrorInvalidValue, [&] {
    const CUgraph_st* const graph = graphs().graphs.find(handle);
    if (!graph || nodes) return cudaErrorInvalidValue;  // the nodes themselves are not in use
    *count = graph->nodes.size();
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t handle,
                                 unsigned long long flags) {
  return call(cudaErrorMemoryAllocation, [&] {
    const CUgraph_st* const graph = graphs().graphs.find(handle);
    if (!graph || flags != 0) return cudaErrorInvalidValue;
    ++graphs().made;
    *executable =
        graphs().executables.add(std::make_unique<CUgraphExec_st>(CUgraphExec_st{graph->nodes}));
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return fake_cuda::release([&] { return graphs().graphs.remove(graph); });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return fake_cuda::release([&] { return graphs().executables.remove(executable); });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t stream_handle) {
  return call(cudaErrorLaunchFailure, [&] {
    CUgraphExec_st* const executable = graphs().executables.find(handle);
    CUstream_st* const stream = fake_cuda::find_stream(stream_handle);
    if (!executable || !stream) return cudaErrorInvalidResourceHandle;
    return fake_cuda::launch(*executable, *stream);
  });
}
