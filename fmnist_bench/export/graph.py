"""A graph of ONNX operators while it is built."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, compose, helper, numpy_helper

OPSETS = {"": 18, "ai.onnx.ml": 3}
IR_VERSION = 10  # what onnxruntime reads since 1.18
FLOAT, DOUBLE, INT64, UINT8, STRING = (
    TensorProto.FLOAT,
    TensorProto.DOUBLE,
    TensorProto.INT64,
    TensorProto.UINT8,
    TensorProto.STRING,
)


class Graph:
    """Operators and constants in the order in which they compute; tensors are known by their names.

    Parameters
    ----------
    prefix : str
        Of the names; those of a graph within another one must not be the other's.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self._known: dict[tuple[Any, ...], str] = {}
        self._computed: dict[tuple[Any, ...], list[str]] = {}
        self._number = 0

    def constant(self, value: ArrayLike) -> str:
        """Keep an array, once however often it is needed; return its name."""
        array = np.ascontiguousarray(value)
        key = array.dtype.str, np.shape(value), array.tobytes() if array.dtype != object else tuple(array.tolist())
        if key not in self._known:
            self._known[key] = name = self._name("constant")
            self.constants[name] = numpy_helper.from_array(array.reshape(np.shape(value)), name)
        return self._known[key]

    def op(self, kind: str, *inputs: str | ArrayLike, domain: str = "", **attributes: Any) -> str:
        """Add an operator with one output; return the output's name.

        Parameters
        ----------
        kind : str
            Name of the operator.
        *inputs : str or array-like
            Names of tensors; anything else becomes a constant.
        domain : str
        **attributes
        """
        return self.ops(kind, 1, *inputs, domain=domain, **attributes)[0]

    def ops(self, kind: str, n: int, *inputs: str | ArrayLike, domain: str = "", **attributes: Any) -> list[str]:
        """Add an operator with `n` outputs; return their names, those of before where the same was computed before."""
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        is_long = domain or "body" in attributes  # such as trees
        key = kind, n, *names, *([self._number] if is_long else map(str, attributes.items()))
        if key not in self._computed:
            self._computed[key] = outputs = [self._name(kind.lower()) for _ in range(n)]
            self.nodes.append(helper.make_node(kind, names, outputs, domain=domain, **attributes))
        return self._computed[key]

    def cast(self, x: str, to: int) -> str:
        """Change the type of the elements."""
        return self.op("Cast", x, to=to)

    def reshape(self, x: str, *shape: int) -> str:
        """Change the shape; -1 stands for what is left."""
        return self.op("Reshape", x, ints(*shape))

    def affine(self, x: str, weights: NDArray[Any], bias: ArrayLike | None = None) -> str:
        """Multiply rows by `weights` of shape (n_inputs, n_outputs), and add a bias."""
        product = self.op("MatMul", x, weights.astype(np.float32))
        return product if bias is None else self.op("Add", product, np.asarray(bias, np.float32))

    def sum(self, x: str, axis: int = -1) -> str:
        """Sum over an axis, which stays with length one."""
        return self.op("ReduceSum", x, ints(axis), keepdims=1)

    def include(self, model: onnx.ModelProto, x: str, output: str) -> str:
        """Add what another model needs for one of its outputs, with `x` as its input; return that output."""
        part = compose.add_prefix(model, f"{self._name('part')}_").graph
        prefix = str(part.input[0].name).removesuffix(model.graph.input[0].name)
        needed, kept = {prefix + output}, list[onnx.NodeProto]()
        for node in reversed(part.node):
            if needed & set(node.output):
                needed |= set(node.input)
                kept.insert(0, node)
        self.nodes.append(helper.make_node("Identity", [x], [part.input[0].name]))
        self.nodes += kept
        self.constants |= {each.name: each for each in part.initializer if each.name in needed}
        return prefix + output

    def model(self, inputs: list[Any], outputs: dict[str, tuple[str, Any]], about: dict[str, str]) -> onnx.ModelProto:
        """Make a model of the graph.

        Parameters
        ----------
        inputs : list of ValueInfoProto
        outputs : dict of str to (str, ValueInfoProto)
            Name of a tensor of the graph, and what is said of it, by the name of the output.
        about : dict of str to str
            The model's metadata.
        """
        ends = [helper.make_node("Identity", [tensor], [name]) for name, (tensor, _) in outputs.items()]
        said = [info for _, info in outputs.values()]
        graph = helper.make_graph(
            [*self.nodes, *ends], "fmnist_bench", inputs, said, initializer=list(self.constants.values())
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="fmnist_bench")
        model.ir_version = IR_VERSION
        helper.set_model_props(model, about)
        return model

    def _name(self, kind: str) -> str:
        self._number += 1
        return f"{self._prefix}{kind}_{self._number}"


def ints(*values: int) -> NDArray[np.int64]:
    """Shapes, axes and numbers of rows, as operators take them."""
    return np.array(values, dtype=np.int64)
