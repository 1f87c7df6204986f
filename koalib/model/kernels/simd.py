"""Vectors of sixteen floats for Numba: one AVX-512 register, or as many smaller ones as the processor needs.

Numba vectorises loops by itself, but keeps no block of accumulators in registers; that takes values of a vector type.
`load` and `store` move sixteen neighbours between memory and a vector, from and to float32 or bfloat16 (which is the
upper half of a float32, so that a shift converts it). A `tile` holds n vectors; when its indices are loop counters of
constant range, LLVM unrolls the loops and keeps the whole tile in registers.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 16
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_WORDS = ir.VectorType(ir.IntType(32), LANES)
_HALVES = ir.VectorType(ir.IntType(16), LANES)
_ZERO = ir.Constant(ir.IntType(32), 0)


class VectorType(types.Type):
    """Numba's type of a vector."""

    def __init__(self):
        super().__init__("float32x16")


class TileType(types.Type):
    """Numba's type of `count` vectors."""

    def __init__(self, count: int):
        self.count = count
        super().__init__(f"float32x16[{count}]")


vector = VectorType()


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _FLOATS)


@register_model(TileType)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, ir.ArrayType(_FLOATS, kind.count).as_pointer())


def _address(context, builder, kind, array, index, element):
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index], inbounds=True), element.as_pointer())


def _all(value: int) -> ir.Constant:
    return ir.Constant(_WORDS, [value] * LANES)


@intrinsic
def load(typing, array, index):
    """Sixteen floats from a flat float32 array."""
    def build(context, builder, signature, args):
        return builder.load(_address(context, builder, signature.args[0], *args, _FLOATS), align=4)
    return vector(array, types.intp), build


@intrinsic
def store(typing, array, index, value):
    """Sixteen floats to a flat float32 array."""
    def build(context, builder, signature, args):
        builder.store(args[2], _address(context, builder, signature.args[0], *args[:2], _FLOATS), align=4)
        return context.get_dummy_value()
    return types.none(array, types.intp, vector), build


@intrinsic
def load_bfloat16(typing, array, index):
    """Sixteen bfloat16 from a flat array of 16-bit words."""
    def build(context, builder, signature, args):
        halves = builder.load(_address(context, builder, signature.args[0], *args, _HALVES), align=2)
        return builder.bitcast(builder.shl(builder.zext(halves, _WORDS), _all(16)), _FLOATS)
    return vector(array, types.intp), build


@intrinsic
def store_bfloat16(typing, array, index, value):
    """Sixteen floats, rounded to nearest even, to a flat array of 16-bit words."""
    def build(context, builder, signature, args):
        bits = builder.bitcast(args[2], _WORDS)
        odd = builder.and_(builder.lshr(bits, _all(16)), _all(1))
        rounded = builder.lshr(builder.add(bits, builder.add(odd, _all(0x7FFF))), _all(16))
        address = _address(context, builder, signature.args[0], *args[:2], _HALVES)
        builder.store(builder.trunc(rounded, _HALVES), address, align=2)
        return context.get_dummy_value()
    return types.none(array, types.intp, vector), build


@intrinsic
def splat(typing, value):
    """One float in all lanes."""
    def build(context, builder, signature, args):
        undefined = ir.Constant(_FLOATS, ir.Undefined)
        return builder.shuffle_vector(builder.insert_element(undefined, args[0], _ZERO), undefined, _all(0))
    return vector(types.float32), build


@intrinsic
def fma(typing, a, b, c):
    """a * b + c."""
    def build(context, builder, signature, args):
        kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32"), args)
    return vector(vector, vector, vector), build


def _elementwise(operation: str):
    @intrinsic
    def function(typing, a, b):
        def build(context, builder, signature, args):
            return getattr(builder, operation)(*args)
        return vector(vector, vector), build
    return function


add, subtract, multiply = _elementwise("fadd"), _elementwise("fsub"), _elementwise("fmul")


@intrinsic
def tile(typing, count):
    """Room for `count` (a constant) vectors."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    kind = TileType(count.literal_value)

    def build(context, builder, signature, args):
        return cgutils.alloca_once(builder, ir.ArrayType(_FLOATS, kind.count))
    return kind(count), build


@intrinsic
def get(typing, vectors, index):
    """Vector `index` of a tile."""
    def build(context, builder, signature, args):
        return builder.load(builder.gep(args[0], [_ZERO, args[1]], inbounds=True))
    return vector(vectors, types.intp), build


@intrinsic
def put(typing, vectors, index, value):
    """Set vector `index` of a tile."""
    def build(context, builder, signature, args):
        builder.store(args[2], builder.gep(args[0], [_ZERO, args[1]], inbounds=True))
        return context.get_dummy_value()
    return types.none(vectors, types.intp, vector), build


@intrinsic
def take_ticket(typing, counter):
    """Add one to counter[0], atomically, and give its value before."""
    def build(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", data, context.get_constant(types.int64, 1), "monotonic")
    return types.int64(counter), build
