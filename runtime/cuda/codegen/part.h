// One part of a generated kernel: values over one index space, all computed in one loop. Its
// outputs are values of that space, reductions of such values over the same axes, and tails: what
// is computed from reductions' results element by element.
//
//   PartWriter part(body, 0, {128, 512}, {0});
//   part.add_output(2, value);           // elementwise, a reduction or a tail
//   part.finish(workspace_offset);
//   part.code();   // __device__ inline void part0(const Pointers& p, int block) { ... }
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "graph/block.h"
#include "runtime/cuda/codegen/point.h"
#include "runtime/cuda/codegen/reductions.h"
#include "runtime/cuda/codegen/space.h"

namespace adjoint::cuda {

inline constexpr int kThreads = 256;  // of a block

class PartWriter {
 public:
  PartWriter(const Block& body, int number, std::vector<int64_t> dims, std::vector<int> reduced)
      : body_(body), number_(number), space_(std::move(dims), reduced), point_(body, space_) {}
  PartWriter(const PartWriter&) = delete;
  PartWriter& operator=(const PartWriter&) = delete;

  void add_output(int output, ValueId value);
  // Writes the code; its partial results lie in the workspace from this byte on.
  void finish(size_t workspace_offset);

  const std::string& code() const { return code_; }
  int64_t blocks() const { return blocks_; }
  bool reduces() const { return !reductions_.empty(); }
  bool reads(int input) const;
  // Where its partial results end in the workspace; 0: it has none.
  size_t workspace_bytes() const { return workspace_bytes_; }
  double points() const {
    return static_cast<double>(space_.kept_count()) * static_cast<double>(space_.reduced_count());
  }
  double operations() const;
  // The stores (output, input) that go exactly where that input is read, if it is read only there.
  std::vector<std::pair<int, int>> in_place() const;
  // Inputs that are not read element by element.
  std::vector<int> free_reads() const;

 private:
  struct Store {
    int output = 0;
    DType dtype = DType::f32;
    std::string value;
    int affine = 0;
  };
  struct Reduction {
    ValueId value;
    int output = -1;           // -1: only tails use it
    DType dtype = DType::f32;  // of the result
    std::string accumulator;   // "Sum<float>"
    size_t bytes = 0;          // of the accumulator
    std::string element;
    size_t offset = 0;  // of the partial results in the workspace
  };
  // How a reduction's threads are laid out. Each takes a pack at a time: of the elements that make
  // up one result where rows are added up, of results elsewhere.
  struct Layout {
    bool rows = false;   // neighbouring threads go along, not across
    int pack = 1;        // elements of one
    int across = 1;      // packs of results of a block
    int along = 1;       // threads for each of them
    int64_t tiles = 1;   // blocks across
    int64_t splits = 1;  // blocks along
    int64_t chunk = 1;   // packs of elements for each of them
    int packed_results() const { return rows ? 1 : pack; }
    int packed_elements() const { return rows ? pack : 1; }
  };

  // Over the shape of the reductions' results.
  struct Tail {
    Tail(const Block& body, std::vector<int64_t> dims)
        : space(std::move(dims), {}), point(body, space) {}
    Space space;
    PointWriter point;
    std::vector<Store> stores;
  };

  std::string index_type() const {
    return space_.is_large() || (tail_ && tail_->space.is_large()) ? "int64_t" : "int";
  }
  int add_reduction(ValueId value);
  void add_tail(int output, ValueId value);
  static Store make_store(int output, ValueId value, const Block& body, Space& space,
                          PointWriter& point);
  int pack_size(int64_t extent) const;
  bool packs(int affine, int size) const;
  void write_elements(int pack, const std::function<std::string(size_t)>& accumulate);
  void write_elementwise();
  void write_reduction();
  Layout layout();
  void write_results(const Layout& layout);
  void write_finish();
  void coordinates(const std::string& index, const std::vector<int64_t>& sizes,
                   const std::string& prefix, int pack);
  std::string address(int affine, const std::string& inner) const;
  void write_point(const Space& space, const PointWriter& point,
                   const std::function<std::string(int)>& address,
                   const std::function<bool(const PointWriter::Load&)>& is_loaded,
                   const std::function<bool(Axes)>& is_wanted);
  void line(const std::string& text) { code_ += indent_ + text + "\n"; }

  const Block& body_;
  int number_;
  Space space_;
  PointWriter point_;
  size_t packed_ = 0;  // the axis, kept ones first, along which packs lie
  std::vector<Store> stores_;
  std::vector<Reduction> reductions_;
  std::unique_ptr<Tail> tail_;  // null: there is none
  std::string indent_ = "  ";
  std::string code_;
  int64_t blocks_ = 0;
  size_t workspace_bytes_ = 0;
};

}  // namespace adjoint::cuda
