#include "runtime/cuda/codegen/part.h"

#include <algorithm>
#include <set>

#include "runtime/cuda/codegen/scalar_ops.h"
#include "runtime/tensor.h"

namespace adjoint::cuda {
namespace {

size_t accumulator_bytes(const std::string& kind, DType dtype) {
  const size_t value = std::max<size_t>(size_of(dtype), is_float(dtype) ? 4 : 1);
  if (kind == "Prod") return is_float(dtype) ? 8 : value;
  if (kind == "Variance") return 4 * value;
  if (kind == "Logsumexp") return 2 * value;
  if (kind == "Argmax" || kind == "Argmin") return 16;
  return value;
}

int64_t rounded_up_power(int64_t value, int64_t limit) {
  int64_t power = 1;
  while (power < value && power < limit) power *= 2;
  return power;
}

std::string text(int64_t value) { return integer_text(value); }

// An address as an expression of the coordinates; `inner` is added to that of axis `packed`.
std::string affine_text(const Space& space, int affine, size_t packed, const std::string& inner) {
  const Affine& a = space.affine(affine);
  const size_t kept = space.kept().size();
  std::string result = text(a.offset);
  for (size_t i = 0; i < a.strides.size(); ++i) {
    if (a.strides[i] == 0) continue;
    const std::string name = i < kept ? "c" + std::to_string(i) : "k" + std::to_string(i - kept);
    const bool moves = !inner.empty() && i == packed;
    result += " + " + (moves ? "(" + name + " + " + inner + ")" : name);
    if (a.strides[i] != 1) result += " * " + text(a.strides[i]);
  }
  return result;
}

}  // namespace

PartWriter::Store PartWriter::make_store(int output, ValueId value, const Block& body, Space& space,
                                         PointWriter& point) {
  const PointMap map = identity_map(space.dims());
  Affine place{0, row_major_strides(space.dims())};
  for (size_t i = 0; i < map.size(); ++i) {
    if (map[i].axis < 0) place.strides[i] = 0;  // as loads do for axes of size 1
  }
  const std::string name = point.value(value, map);
  return {output, body.type(value).dtype, name, space.add(std::move(place))};
}

void PartWriter::add_output(int output, ValueId value) {
  if (!reduction_info(body_, body_.node(value)).accumulator.empty()) {
    reductions_[add_reduction(value)].output = output;
  } else if (!reductions_below(body_, value).empty()) {
    add_tail(output, value);
  } else {
    stores_.push_back(make_store(output, value, body_, space_, point_));
  }
}

int PartWriter::add_reduction(ValueId value) {
  for (size_t i = 0; i < reductions_.size(); ++i) {
    if (reductions_[i].value == value) return static_cast<int>(i);
  }
  const Node& node = body_.node(value);
  const ReductionInfo info = reduction_info(body_, node);
  const DType dtype = body_.type(node.operands[0]).dtype;
  reductions_.push_back({.value = value,
                         .dtype = node.types[0].dtype,
                         .accumulator = info.accumulator + "<" + compute_name(dtype) + ">",
                         .bytes = accumulator_bytes(info.accumulator, dtype),
                         .element = point_.value(node.operands[0], identity_map(space_.dims()))});
  return static_cast<int>(reductions_.size()) - 1;
}

void PartWriter::add_tail(int output, ValueId value) {
  const std::vector<int64_t> dims = body_.type(value).shape.static_dims();
  if (!tail_) tail_ = std::make_unique<Tail>(body_, dims);
  for (ValueId reduction : reductions_below(body_, value)) {
    const std::string name = "m" + std::to_string(add_reduction(reduction));
    tail_->point.give(reduction, identity_map(dims), name);
  }
  tail_->stores.push_back(make_store(output, value, body_, tail_->space, tail_->point));
}

double PartWriter::operations() const {
  const auto results = static_cast<double>(space_.kept_count());
  return results * (static_cast<double>(space_.reduced_count()) *
                        (point_.operations() + static_cast<double>(reductions_.size())) +
                    (tail_ ? tail_->point.operations() : 0));
}

std::vector<int> PartWriter::free_reads() const {
  std::vector<int> inputs = point_.free_reads();
  if (tail_) {
    inputs.insert(inputs.end(), tail_->point.free_reads().begin(), tail_->point.free_reads().end());
  }
  return inputs;
}

bool PartWriter::reads(int input) const {
  auto loads = [input](const PointWriter& point) {
    return std::any_of(point.loads().begin(), point.loads().end(),
                       [&](const PointWriter::Load& load) { return load.input == input; });
  };
  const std::vector<int> free = free_reads();
  return std::find(free.begin(), free.end(), input) != free.end() || loads(point_) ||
         (tail_ && loads(tail_->point));
}

std::vector<std::pair<int, int>> PartWriter::in_place() const {
  std::vector<std::pair<int, int>> pairs;
  const std::vector<int> free = free_reads();
  // `other`: what else reads inputs, at another time.
  auto collect = [&](const std::vector<Store>& stores, const PointWriter& point,
                     const PointWriter* other) {
    for (const Store& store : stores) {
      std::set<int> good, bad(free.begin(), free.end());
      for (const PointWriter::Load& load : point.loads()) {
        const bool same =
            load.affine == store.affine && size_of(load.dtype) == size_of(store.dtype);
        (same ? good : bad).insert(load.input);
      }
      for (size_t i = 0; other != nullptr && i < other->loads().size(); ++i) {
        bad.insert(other->loads()[i].input);
      }
      for (int input : good) {
        if (!bad.contains(input)) pairs.emplace_back(store.output, input);
      }
    }
  };
  collect(stores_, point_, tail_ ? &tail_->point : nullptr);
  if (tail_) collect(tail_->stores, tail_->point, &point_);
  return pairs;
}

void PartWriter::finish(size_t workspace_offset) {
  space_.collapse();
  if (tail_) tail_->space.collapse();
  if (reduces()) write_finish();
  code_ += "__device__ inline void part" + std::to_string(number_) +
           "(const Pointers& p, const int block) {\n";
  if (space_.kept_count() == 0 || (!reduces() && space_.reduced_count() == 0)) {
    blocks_ = 0;
  } else if (reduces()) {
    for (Reduction& reduction : reductions_) reduction.offset = workspace_offset;
    write_reduction();
  } else {
    write_elementwise();
  }
  code_ += "}\n";
}

// --- Several elements at a time ----------------------------------------------------------------

// Whether an address goes up by one element for each step along the packed axis, from multiples of
// `size` on.
bool PartWriter::packs(int affine, int size) const {
  const Affine& a = space_.affine(affine);
  if (packed_ >= a.strides.size() || a.strides[packed_] != 1 || a.offset % size != 0) return false;
  for (size_t i = 0; i < a.strides.size(); ++i) {
    if (i != packed_ && a.strides[i] % size != 0) return false;
  }
  return true;
}

// How many elements along an axis of this size a thread takes at once: as many as 16 bytes hold of
// the largest type in use.
int PartWriter::pack_size(int64_t extent) const {
  size_t largest = 0;
  for (const Store& store : stores_) largest = std::max(largest, size_of(store.dtype));
  for (const PointWriter::Load& load : point_.loads()) {
    if (packs(load.affine, 1)) largest = std::max(largest, size_of(load.dtype));
  }
  if (largest == 0 || point_.takes_long(space_.axes_left_as(packed_))) return 1;
  auto fits = [&](int size) {
    return extent % size == 0 &&
           std::all_of(stores_.begin(), stores_.end(),
                       [&](const Store& store) { return packs(store.affine, size); });
  };
  int size = static_cast<int>(std::min<size_t>(16 / largest, 8));
  while (size > 1 && !fits(size)) size /= 2;
  return size;
}

// Splits a running index into coordinates c0, c1 ..., the last one in steps of `pack`.
void PartWriter::coordinates(const std::string& index, const std::vector<int64_t>& sizes,
                             const std::string& prefix, int pack) {
  if (sizes.empty()) return;
  const std::string type = "const " + index_type() + " ";
  std::string rest = index;
  for (size_t i = sizes.size(); i-- > 0;) {
    const bool innermost = i + 1 == sizes.size();
    const int64_t size = innermost ? sizes[i] / pack : sizes[i];
    std::string coordinate = i == 0 ? rest : rest + " % " + text(size);
    if (innermost && pack > 1) coordinate = "(" + coordinate + ") * " + std::to_string(pack);
    line(type + prefix + std::to_string(i) + " = " + coordinate + ";");
    if (i == 0) break;
    const std::string next = prefix + "_rest" + std::to_string(i);
    line(type + next + " = " + rest + " / " + text(size) + ";");
    rest = next;
  }
}

std::string PartWriter::address(int affine, const std::string& inner) const {
  return affine_text(space_, affine, packed_, inner);
}

// The code of one point: addresses, loads (from packs that are loaded already, or single) and what
// is computed of them, as far as what depends on these axes is wanted.
void PartWriter::write_point(const Space& space, const PointWriter& point,
                             const std::function<std::string(int)>& address,
                             const std::function<bool(const PointWriter::Load&)>& is_loaded,
                             const std::function<bool(Axes)>& is_wanted) {
  for (int i = 0; i < space.affine_count(); ++i) {
    if (!is_wanted(space.axes_of(i))) continue;
    line("[[maybe_unused]] const " + index_type() + " i" + std::to_string(i) + " = " + address(i) +
         ";");
  }
  for (const PointWriter::Load& load : point.loads()) {
    if (!is_wanted(space.axes_of(load.affine))) continue;
    const std::string variable = "const " + compute_name(load.dtype) + " " + load.name + " = ";
    if (is_loaded(load)) {
      line(variable + "widen(" + load.name + "_pack[v]);");
    } else {
      line(variable + "load<" + type_name(load.dtype) + ">(p.in[" + std::to_string(load.input) +
           "], i" + std::to_string(load.affine) + ");");
    }
  }
  for (const PointWriter::Line& computed : point.lines()) {
    if (is_wanted(computed.axes)) line(computed.text);
  }
}

// Loads a pack, computes what is the same for all of it and each of its elements `v`, adds it to
// the reductions by `accumulate(i)`, and stores the pack.
void PartWriter::write_elements(int pack, const std::function<std::string(size_t)>& accumulate) {
  const std::string size = std::to_string(pack);
  for (const PointWriter::Load& load : point_.loads()) {
    if (pack == 1 || !packs(load.affine, pack)) continue;
    line("const auto " + load.name + "_pack = load_pack<" + size + ">(elements<" +
         type_name(load.dtype) + ">(p.in[" + std::to_string(load.input) + "]) + " +
         address(load.affine, "") + ");");
  }
  for (const Store& store : stores_) {
    line("Pack<" + type_name(store.dtype) + ", " + size + "> y" + std::to_string(store.output) +
         ";");
  }
  const Axes moving = space_.axes_left_as(packed_);
  const auto is_loaded = [&](const PointWriter::Load& load) {
    return pack > 1 && packs(load.affine, pack);
  };
  write_point(
      space_, point_, [this](int affine) { return address(affine, ""); }, is_loaded,
      [&](Axes axes) { return (axes & moving) == 0; });
  code_ += "#pragma unroll\n";
  line("for (int v = 0; v < " + size + "; ++v) {");
  indent_ += "  ";
  write_point(
      space_, point_, [this](int affine) { return address(affine, "v"); }, is_loaded,
      [&](Axes axes) { return (axes & moving) != 0; });
  for (const Store& store : stores_) {
    line("y" + std::to_string(store.output) + "[v] = narrow<" + type_name(store.dtype) + ">(" +
         store.value + ");");
  }
  for (size_t i = 0; i < reductions_.size(); ++i) line(accumulate(i));
  indent_.resize(indent_.size() - 2);
  line("}");
  for (const Store& store : stores_) {
    const std::string output = std::to_string(store.output);
    line("store_pack(elements<" + type_name(store.dtype) + ">(p.out[" + output + "]) + " +
         address(store.affine, "") + ", y" + output + ");");
  }
}

// --- Elementwise -------------------------------------------------------------------------------

void PartWriter::write_elementwise() {
  packed_ = space_.kept().size() - 1;  // of a scalar: none
  const int pack = space_.kept().empty() ? 1 : pack_size(space_.kept().back());
  const int64_t groups = space_.kept_count() / pack;
  blocks_ = (groups + kThreads - 1) / kThreads;
  const std::string type = index_type();
  line("const " + type + " group = static_cast<" + type + ">(block) * " + std::to_string(kThreads) +
       " + static_cast<int>(threadIdx.x);");
  line("if (group >= " + text(groups) + ") return;");
  coordinates("group", space_.kept(), "c", pack);
  write_elements(pack, {});
}

// --- Reductions --------------------------------------------------------------------------------

// Also chooses the packed axis: of the elements that are added up, or of the results.
PartWriter::Layout PartWriter::layout() {
  constexpr int64_t kWantedBlocks = 512;  // enough for a large GPU
  constexpr int64_t kLeastSteps = 8;      // elements that a thread should at least add up
  int innermost = static_cast<int>(space_.dims().size()) - 1;
  while (innermost > 0 && space_.dims()[innermost] == 1) --innermost;
  const bool rows = space_.kept().empty() ||
                    (innermost >= 0 && space_.is_reduced(innermost) && space_.reduced_count() > 1);
  const std::vector<int64_t>& inner = rows ? space_.reduced() : space_.kept();
  packed_ = space_.kept().size() + (rows ? space_.reduced().size() : 0) - 1;
  Layout layout{.rows = rows};
  if (!inner.empty()) layout.pack = pack_size(inner.back());
  const int64_t results = space_.kept_count() / layout.packed_results();
  const int64_t elements = space_.reduced_count() / layout.packed_elements();
  if (rows) {
    layout.along = static_cast<int>(rounded_up_power(elements, kThreads));
    layout.across = kThreads / layout.along;
  } else {
    layout.across = static_cast<int>(rounded_up_power(results, 32));
    layout.along = kThreads / layout.across;
  }
  layout.tiles = (results + layout.across - 1) / layout.across;
  const int64_t most = std::max<int64_t>(elements / (layout.along * kLeastSteps), 1);
  layout.splits = std::clamp<int64_t>(kWantedBlocks / layout.tiles, 1, most);
  layout.chunk = std::max<int64_t>((elements + layout.splits - 1) / layout.splits, 1);
  return layout;
}

void PartWriter::write_reduction() {
  const Layout l = layout();
  blocks_ = l.tiles * l.splits;
  const std::string type = index_type(), across = std::to_string(l.across),
                    along = std::to_string(l.along);
  const std::string results = std::to_string(l.packed_results());
  const std::string groups = text(space_.reduced_count() / l.packed_elements());
  line("const int thread = static_cast<int>(threadIdx.x);");
  line("const int a = thread " + (l.rows ? "/ " + along : "% " + across) + ";  // across");
  line("const int b = thread " + (l.rows ? "% " + along : "/ " + across) + ";  // along");
  line("const int split = block / " + text(l.tiles) + ";");
  line("const " + type + " group = static_cast<" + type + ">(block % " + text(l.tiles) + ") * " +
       across + " + a;");
  line("const " + type + " result = group * " + results + ";");
  for (size_t i = 0; i < reductions_.size(); ++i) {
    line(reductions_[i].accumulator + " r" + std::to_string(i) + "[" + results + "];");
  }
  line("if (result < " + text(space_.kept_count()) + ") {");
  coordinates("group", space_.kept(), "c", l.packed_results());
  line("const " + type + " begin = static_cast<" + type + ">(split) * " + text(l.chunk) + ";");
  line("const " + type + " past = begin + " + text(l.chunk) + ";");
  line("const " + type + " end = past < " + groups + " ? past : " + groups + ";");
  line("for (" + type + " k = begin + b; k < end; k += " + along + ") {");
  coordinates("k", space_.reduced(), "k", l.packed_elements());
  const bool elements = l.packed_elements() > 1;
  const std::string place = elements ? "k * " + std::to_string(l.pack) + " + v" : "k";
  const std::string own = l.packed_results() > 1 ? "[v]" : "[0]";
  write_elements(l.pack, [&](size_t i) {
    return "r" + std::to_string(i) + own + ".add(" + reductions_[i].element + ", " + place + ");";
  });
  line("}");
  line("}");
  write_results(l);
}

// Joins the threads' accumulators, then the blocks'.
void PartWriter::write_results(const Layout& l) {
  const std::string results = text(space_.kept_count()), type = index_type();
  const std::string count = text(space_.reduced_count());
  auto name = [](size_t i) { return "r" + std::to_string(i) + "[v]"; };
  auto partial = [&](size_t i) {
    return "partial<" + reductions_[i].accumulator + ">(p.workspace, " +
           std::to_string(reductions_[i].offset) + ")";
  };
  auto finish = [&](const std::string& place, auto&& accumulator) {
    std::string call = "finish" + std::to_string(number_) + "(p, " + place;
    for (size_t i = 0; i < reductions_.size(); ++i) {
      call += ", rounded<" + type_name(reductions_[i].dtype) + ">(" + accumulator(i) + ".result(" +
              count + "))";
    }
    return call + ");";
  };
  const std::string each = "for (int v = 0; v < " + std::to_string(l.packed_results()) + "; ++v) ";
  code_ += "#pragma unroll\n";
  line(each + "{");
  for (size_t i = 0; i < reductions_.size(); ++i) {
    line("  " + name(i) + " = join_threads(" + name(i) + ", a, b, " + std::to_string(l.across) +
         ", " + std::to_string(l.along) + ");");
  }
  line("}");
  const std::string first = "if (b == 0 && result < " + results + ") " + each;
  if (l.splits == 1) {
    line(first + finish("result + v", name));
    return;
  }
  size_t offset = reductions_[0].offset;
  for (Reduction& reduction : reductions_) {
    reduction.offset = (offset + 15) / 16 * 16;
    offset = reduction.offset + reduction.bytes * l.splits * space_.kept_count();
  }
  workspace_bytes_ = offset;  // absolute: the end of this part's partial results
  for (size_t i = 0; i < reductions_.size(); ++i) {
    line(first + partial(i) + "[split * " + results + " + result + v] = " + name(i) + ";");
  }
  line("if (!is_last_block(p.tickets + " + std::to_string(number_) + ", " + text(blocks_) +
       ", shared_memory<int>(1))) return;");
  line("for (" + type + " q = thread; q < " + results + "; q += " + std::to_string(kThreads) +
       ") {");
  for (size_t i = 0; i < reductions_.size(); ++i) {
    line(reductions_[i].accumulator + " total" + std::to_string(i) + " = " + partial(i) + "[q];");
    line("for (int s = 1; s < " + text(l.splits) + "; ++s) total" + std::to_string(i) + ".merge(" +
         partial(i) + "[s * " + results + " + q]);");
  }
  line(finish("q", [](size_t i) { return "total" + std::to_string(i); }));
  line("}");
}

// A function that gets the reductions' results at one place, in the order of memory: it stores
// those that are outputs, and computes the tails.
void PartWriter::write_finish() {
  std::string head = "__device__ inline void finish" + std::to_string(number_) +
                     "(const Pointers& p, const " + index_type() + " q";
  for (size_t i = 0; i < reductions_.size(); ++i) {
    head += ", const " + compute_name(reductions_[i].dtype) + " m" + std::to_string(i);
  }
  code_ += head + ") {\n";
  for (size_t i = 0; i < reductions_.size(); ++i) {
    if (reductions_[i].output < 0) continue;
    line("store<" + type_name(reductions_[i].dtype) + ">(p.out[" +
         std::to_string(reductions_[i].output) + "], q, m" + std::to_string(i) + ");");
  }
  if (tail_) {
    coordinates("q", tail_->space.kept(), "c", 1);
    write_point(
        tail_->space, tail_->point,
        [this](int affine) { return affine_text(tail_->space, affine, 0, ""); },
        [](const PointWriter::Load&) { return false; }, [](Axes) { return true; });
    for (const Store& store : tail_->stores) {
      line("store<" + type_name(store.dtype) + ">(p.out[" + std::to_string(store.output) + "], i" +
           std::to_string(store.affine) + ", " + store.value + ");");
    }
  }
  code_ += "}\n";
}

}  // namespace adjoint::cuda
