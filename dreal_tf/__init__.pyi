"""The public names, which `dreal_tf/__init__.py` loads lazily; type checkers and editors read them here."""

from .api import audit as audit
from .api import benchmark as benchmark
from .api import evaluate as evaluate
from .api import export as export
from .api import index as index
from .api import predict as predict
from .api import prune as prune
from .api import report as report
from .api import search as search
from .api import study as study
from .api import train as train
from .api import tune as tune
from .experiments.tuning import Choice as Choice
from .experiments.tuning import Range as Range
from .experiments.tuning import Search as Search
from .experiments.tuning import Space as Space
from .experiments.tuning.hyper_model import RecipeHyperModel as RecipeHyperModel
from .layers import CBAM as CBAM
from .layers import ECA as ECA
from .layers import SRM as SRM
from .layers import AttentionActor as AttentionActor
from .layers import AugmentedConvolution as AugmentedConvolution
from .layers import CrissCross as CrissCross
from .layers import DoubleAttention as DoubleAttention
from .layers import DualAttention as DualAttention
from .layers import ExpectationMaximization as ExpectationMaximization
from .layers import NonLocal as NonLocal
from .layers import SqueezeExcite as SqueezeExcite
from .layers import StandAloneAttention as StandAloneAttention
from .model import DREAL as DREAL
from .model.attach import attach as attach
from .networks.attaching import find_gates as find_gates
from .networks.attaching import insert as insert
from .networks.backbones import embedding_network as embedding_network
from .networks.backbones import imagenet_residual_network as imagenet_residual_network
from .networks.backbones import residual_network as residual_network
from .recipe import Recipe as Recipe
from .training.builder import build as build
from .training.recipe_files import load_recipe as load_recipe

__version__: str
