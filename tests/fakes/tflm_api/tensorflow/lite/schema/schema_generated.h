// See micro_op_resolver.h.
#ifndef TFLM_API_SCHEMA_GENERATED_H
#define TFLM_API_SCHEMA_GENERATED_H

#include <cstdint>

namespace tflite {
struct Model {
  unsigned char bytes[8];
  std::uint32_t version() const { return 3; }
};
inline const Model* GetModel(const void* data) { return static_cast<const Model*>(data); }
}  // namespace tflite

#endif
